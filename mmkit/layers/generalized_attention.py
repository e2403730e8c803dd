"""Generalised attention."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.errors import InvalidValueError
from mmkit.layers.init import caffe2_xavier_init
from mmkit.registry import PLUGIN_LAYERS

MAX_LENGTH = {512: 42}  # side of the largest map that a `spatial_range` is tabulated for, by channels
OTHER_MAX_LENGTH = 84


@PLUGIN_LAYERS.register_module()
class GeneralizedAttention(nn.Module):
    """Attention between positions as a sum of up to four terms (arXiv:1904.05873).

    Args:
        in_channels: channels of the map.
        spatial_range: radius of the attention in pixels; -1 for unlimited.
        num_heads: attention heads.
        position_embedding_dim: channels of the sine embedding of relative positions, divisible by 4; -1 is
            `in_channels`.
        position_magnitude: factor of relative positions.
        kv_stride, q_stride: stride of keys and values, and of queries.
        attention_type: a '0' or '1' for each of the four terms: query and key content, query content and relative
            position, key content only, relative position only.
    """

    _abbr_ = 'gen_attention_block'

    def __init__(
        self,
        in_channels: int,
        spatial_range: int = -1,
        num_heads: int = 9,
        position_embedding_dim: int = -1,
        position_magnitude: float = 1,
        kv_stride: int = 2,
        q_stride: int = 1,
        attention_type: str = '1111',
    ) -> None:
        super().__init__()
        if len(attention_type) != 4 or not set(attention_type) <= set('01') or '1' not in attention_type:
            raise InvalidValueError(
                f"GeneralizedAttention: attention_type is four of '0' and '1', got {attention_type!r}",
                key='attention_type',
            )
        self.terms = [term == '1' for term in attention_type]
        self.num_heads, self.dim = num_heads, in_channels // num_heads
        self.q_stride, self.kv_stride, self.position_magnitude = q_stride, kv_stride, position_magnitude
        self.position_dim = position_embedding_dim if position_embedding_dim > 0 else in_channels
        width = self.dim * num_heads
        content, geometry, saliency, position = self.terms
        self.query_conv: nn.Conv2d | None = None
        self.key_conv: nn.Conv2d | None = None
        self.appr_geom_fc_x: nn.Linear | None = None
        self.appr_geom_fc_y: nn.Linear | None = None
        self.appr_bias: nn.Parameter | None = None
        self.geom_bias: nn.Parameter | None = None
        if content or geometry:
            self.query_conv = nn.Conv2d(in_channels, width, 1, bias=False)
        if content or saliency:
            self.key_conv = nn.Conv2d(in_channels, width, 1, bias=False)
        self.value_conv = nn.Conv2d(in_channels, width, 1, bias=False)
        if geometry or position:
            self.appr_geom_fc_x = nn.Linear(self.position_dim // 2, width, bias=False)
            self.appr_geom_fc_y = nn.Linear(self.position_dim // 2, width, bias=False)
        bound = 1 / math.sqrt(self.dim * 2)
        if saliency:
            self.appr_bias = nn.Parameter(torch.empty(width).uniform_(-bound, bound))
        if position:
            self.geom_bias = nn.Parameter(torch.empty(width).uniform_(-bound, bound))
        self.proj_conv = nn.Conv2d(width, in_channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))
        for module in self.children():
            caffe2_xavier_init(module)
        self.spatial_range = spatial_range
        if spatial_range >= 0:
            length = MAX_LENGTH.get(in_channels, OTHER_MAX_LENGTH)
            self.local_constraint_map: Tensor
            self.register_buffer('local_constraint_map', _out_of_range(length, spatial_range, kv_stride))

    def _heads(self, x: Tensor) -> Tensor:
        """(B, heads * dim, H, W) -> (B, heads, dim, H, W)."""
        return x.view(len(x), self.num_heads, self.dim, *x.shape[2:])

    def _relative(self, layer: nn.Linear, num_q: int, num_kv: int) -> Tensor:
        """Embedding of the distances along one axis, (heads, num_q, num_kv, dim)."""
        weight = layer.weight
        from_q = torch.arange(num_q, device=weight.device, dtype=weight.dtype) * self.q_stride
        to_kv = torch.arange(num_kv, device=weight.device, dtype=weight.dtype) * self.kv_stride
        distance = (from_q[:, None] - to_kv) * self.position_magnitude
        steps = torch.arange(self.position_dim // 4, device=weight.device, dtype=weight.dtype)
        angle = distance[..., None] / 1000 ** (steps * 4 / self.position_dim)
        embedding: Tensor = layer(torch.cat([angle.sin(), angle.cos()], 2)) / math.sqrt(2)
        return embedding.view(num_q, num_kv, self.num_heads, self.dim).permute(2, 0, 1, 3)

    def _energy(self, x_q: Tensor, x_kv: Tensor) -> Tensor:
        """Attention logits of every query position over all keys, (B, heads, H, W, h, w)."""
        (height, width), (kv_height, kv_width) = x_q.shape[2:], x_kv.shape[2:]
        content, geometry, _, _ = self.terms
        energy = x_q.new_zeros(len(x_q), self.num_heads, height, width, kv_height, kv_width)
        query = None if self.query_conv is None else self._heads(self.query_conv(x_q))  # (B, heads, dim, H, W)
        if self.key_conv is not None:
            key = self._heads(self.key_conv(x_kv))
            if content and query is not None:
                energy = energy + torch.einsum('bndhw,bndij->bnhwij', query, key)
            if self.appr_bias is not None:
                bias = self.appr_bias.view(self.num_heads, self.dim)
                energy = energy + torch.einsum('nd,bndij->bnij', bias, key)[:, :, None, None]
        if self.appr_geom_fc_x is not None and self.appr_geom_fc_y is not None:
            by_x = self._relative(self.appr_geom_fc_x, width, kv_width)
            by_y = self._relative(self.appr_geom_fc_y, height, kv_height)
            if geometry and query is not None:
                energy = energy + torch.einsum('bndhw,nwjd->bnhwj', query, by_x)[..., None, :]
                energy = energy + torch.einsum('bndhw,nhid->bnhwi', query, by_y)[..., None]
            if self.geom_bias is not None:
                bias = self.geom_bias.view(self.num_heads, self.dim)
                energy = energy + torch.einsum('nd,nwjd->nwj', bias, by_x)[:, None, :, None]
                energy = energy + torch.einsum('nd,nhid->nhi', bias, by_y)[:, :, None, :, None]
        return energy

    def forward(self, x: Tensor) -> Tensor:
        x_q = x[..., :: self.q_stride, :: self.q_stride]
        x_kv = x[..., :: self.kv_stride, :: self.kv_stride]
        energy = self._energy(x_q, x_kv)
        if self.spatial_range >= 0:
            shape = energy.shape[2:]
            if any(size > most for size, most in zip(shape, self.local_constraint_map.shape, strict=True)):
                raise InvalidValueError(
                    f'GeneralizedAttention: with a spatial_range, maps have at most '
                    f'{len(self.local_constraint_map)} x {len(self.local_constraint_map)} positions, '
                    f'got {tuple(shape[:2])}',
                    key='spatial_range',
                )
            hidden = self.local_constraint_map[: shape[0], : shape[1], : shape[2], : shape[3]].bool()
            energy = energy.masked_fill(hidden, float('-inf'))
        attention = energy.flatten(4).softmax(4)  # (B, heads, H, W, h * w)
        value = self._heads(self.value_conv(x_kv)).flatten(3)  # (B, heads, dim, h * w)
        out = self.proj_conv(torch.einsum('bnhwp,bndp->bndhw', attention, value).flatten(1, 2))
        if self.q_stride > 1:
            out = F.interpolate(out, size=x.shape[2:], mode='bilinear', align_corners=False)
        x = x + self.gamma * out
        return x


def _out_of_range(length: int, spatial_range: int, kv_stride: int) -> Tensor:
    """1 where (i, j) of the strided map is out of range of position (y, x), (length, length, kv, kv) uint8."""
    num_kv = (length - 1) // kv_stride + 1
    at, kv = torch.arange(length)[:, None], torch.arange(num_kv)
    first = ((at - spatial_range) // kv_stride).clamp(min=0)
    last = (at + spatial_range + 1) // kv_stride
    within = (kv >= first) & (kv <= last)  # (length, kv), for one axis
    return (~(within[:, None, :, None] & within[None, :, None, :])).to(torch.uint8)
