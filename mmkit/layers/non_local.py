"""Non-local block."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmkit.errors import InvalidValueError
from mmkit.layers.conv_module import ConvModule
from mmkit.layers.init import constant_init, normal_init
from mmkit.registry import PLUGIN_LAYERS, Cfg

CONV2D = dict(type='Conv2d')
MODES = ('gaussian', 'embedded_gaussian', 'dot_product', 'concatenation')


@PLUGIN_LAYERS.register_module()
class NonLocal2d(nn.Module):
    """Self-attention between all positions of a map (arXiv:1711.07971).

    Args:
        in_channels: channels of the map.
        sub_sample: take keys and values from the map max-pooled by 2.
        conv_cfg: kind of the 1 x 1 convolutions.
        reduction: the embedding has in_channels // reduction channels, at least 1.
        use_scale: divide the similarity by the square root of the embedding's channels ('embedded_gaussian' only).
        norm_cfg: norm after the last convolution.
        mode: 'gaussian', 'embedded_gaussian', 'dot_product' or 'concatenation'.
        zeros_init: start as the identity.
    """

    _abbr_ = 'nonlocal_block'

    def __init__(
        self,
        in_channels: int,
        sub_sample: bool = False,
        conv_cfg: Cfg | None = CONV2D,
        reduction: int = 2,
        use_scale: bool = True,
        norm_cfg: Cfg | None = None,
        mode: str = 'embedded_gaussian',
        zeros_init: bool = True,
    ) -> None:
        super().__init__()
        if mode not in MODES:
            raise InvalidValueError(f'NonLocal2d: mode is one of {MODES}, got {mode!r}', key='mode')
        self.mode, self.use_scale = mode, use_scale
        self.inter_channels = max(in_channels // reduction, 1)

        def embed() -> ConvModule:
            return ConvModule(in_channels, self.inter_channels, 1, conv_cfg=conv_cfg, act_cfg=None)

        value = embed()
        self.g: nn.Module = value
        self.conv_out = ConvModule(
            self.inter_channels, in_channels, 1, conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=None
        )
        query, key = (None, None) if mode == 'gaussian' else (embed(), embed())
        self.theta: nn.Module | None = query
        self.phi: nn.Module | None = key
        self.concat_project: nn.Module | None = None
        if mode == 'concatenation':
            self.concat_project = ConvModule(self.inter_channels * 2, 1, 1, bias=False, act_cfg=dict(type='ReLU'))
        for embedding in (value, query, key):
            if embedding is not None:
                normal_init(embedding.conv, std=0.01)
        last = self.conv_out.norm or self.conv_out.conv
        if zeros_init:
            constant_init(last, 0)
        else:
            normal_init(last, std=0.01)
        if sub_sample:
            self.g = nn.Sequential(value, nn.MaxPool2d(2))
            self.phi = nn.MaxPool2d(2) if key is None else nn.Sequential(key, nn.MaxPool2d(2))

    def _similarity(self, x: Tensor) -> Tensor:
        """Attention weights of P query positions over Q keys, (B, P, Q)."""
        query = (x if self.theta is None else self.theta(x)).flatten(2)  # (B, C, P)
        key = (x if self.phi is None else self.phi(x)).flatten(2)  # (B, C, Q)
        if self.concat_project is not None:
            pairs = torch.cat(
                [query[..., None].expand(-1, -1, -1, key.shape[2]), key[:, :, None].expand(-1, -1, query.shape[2], -1)],
                1,
            )
            similarity: Tensor = self.concat_project(pairs)[:, 0] / key.shape[2]
            return similarity
        product: Tensor = query.transpose(1, 2) @ key
        if self.mode == 'dot_product':
            return product / key.shape[2]
        if self.mode == 'embedded_gaussian' and self.use_scale:
            product = product / query.shape[1] ** 0.5
        return product.softmax(2)

    def forward(self, x: Tensor) -> Tensor:
        value = self.g(x).flatten(2).transpose(1, 2)  # (B, Q, C)
        attended = (self._similarity(x) @ value).transpose(1, 2)  # (B, C, P)
        x = x + self.conv_out(attended.reshape(len(x), self.inter_channels, *x.shape[2:]))
        return x
