"""Multi-scale deformable attention (arXiv:2010.04159)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmkit.errors import InvalidValueError
from mmkit.layers.attention import Attention, Sampling
from mmkit.layers.init import InitCfg, constant_init, xavier_init
from mmkit.registry import ATTENTION, Cfg


def sample_levels(value: Tensor, shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of bilinear samples of all levels.

    Args:
        value: (B, S, M, D) of M heads, S the cells of all levels.
        shapes: (height, width) of the levels.
        locations: (B, Q, M, L, P, 2), normalised to 0..1 of each level.
        weights: (B, Q, M, L, P) of the samples.

    Returns:
        (B, Q, M * D).
    """
    batch, _, heads, dims = value.shape
    queries = locations.shape[1]
    grids = (2 * locations - 1).permute(0, 2, 3, 1, 4, 5).flatten(0, 1)  # (B*M, L, Q, P, 2)
    weights = weights.permute(0, 2, 3, 1, 4).flatten(0, 1)  # (B*M, L, Q, P)
    total = value.new_zeros(batch * heads, dims, queries)
    for level, part in enumerate(torch.split(value, [h * w for h, w in shapes], dim=1)):
        plane = part.permute(0, 2, 3, 1).reshape(batch * heads, dims, *shapes[level])
        sampled = functional.grid_sample(plane, grids[:, level], align_corners=False)  # (B*M, D, Q, P)
        total = total + (sampled * weights[:, level, None]).sum(-1)
    return total.view(batch, heads * dims, queries).transpose(1, 2)


@ATTENTION.register_module()
class MultiScaleDeformableAttention(Attention):
    """Attention of each query to `num_points` learned points per level and head.

    Args:
        embed_dims: channels, a multiple of `num_heads`.
        num_heads, num_levels, num_points: heads, feature levels, and points per head and level.
        im2col_step: has no effect: it is the batch size of mmcv's CUDA kernel.
        dropout: of the residual branch.
        batch_first: (B, N, C) instead of (N, B, C).
        norm_cfg: must be None.
        init_cfg: initial weights.
    """

    needs_sampling = True

    def __init__(
        self,
        embed_dims: int = 256,
        num_heads: int = 8,
        num_levels: int = 4,
        num_points: int = 4,
        im2col_step: int = 64,
        dropout: float = 0.1,
        batch_first: bool = False,
        norm_cfg: Cfg | None = None,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(init_cfg)
        if embed_dims % num_heads:
            raise InvalidValueError(
                f'embed_dims {embed_dims} is no multiple of num_heads {num_heads}', key='embed_dims'
            )
        if norm_cfg is not None:
            raise InvalidValueError('MultiScaleDeformableAttention does not support norm_cfg', key='norm_cfg')
        if im2col_step != 64:
            warnings.warn('im2col_step has no effect without the CUDA kernel it was for', stacklevel=2)
        self.embed_dims = embed_dims
        self.num_heads = num_heads
        self.num_levels = num_levels
        self.num_points = num_points
        self.batch_first = batch_first
        self.dropout = nn.Dropout(dropout)
        samples = num_heads * num_levels * num_points
        self.sampling_offsets = nn.Linear(embed_dims, samples * 2)
        self.attention_weights = nn.Linear(embed_dims, samples)
        self.value_proj = nn.Linear(embed_dims, embed_dims)
        self.output_proj = nn.Linear(embed_dims, embed_dims)
        self.reset()

    def reset(self) -> None:
        """Initial offsets: each head has a direction of its own, and its point p lies p + 1 cells away."""
        constant_init(self.sampling_offsets, 0.0)
        angles = torch.arange(self.num_heads) * (2.0 * math.pi / self.num_heads)
        directions = torch.stack([angles.cos(), angles.sin()], dim=-1)
        directions = directions / directions.abs().amax(dim=-1, keepdim=True)
        steps = torch.arange(1, self.num_points + 1)
        offsets = directions[:, None, None] * steps[:, None]  # (M, 1, P, 2)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.expand(-1, self.num_levels, -1, -1).reshape(-1))
        constant_init(self.attention_weights, 0.0)
        xavier_init(self.value_proj, distribution='uniform')
        xavier_init(self.output_proj, distribution='uniform')

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        identity: Tensor | None = None,
        query_pos: Tensor | None = None,
        key_pos: Tensor | None = None,
        attn_mask: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        sampling: Sampling | None = None,
    ) -> Tensor:
        """Attend from (Q, B, C) queries to points of `value` (S, B, C) around their references.

        Args:
            query: the queries; weights and offsets are predicted from them.
            key, key_pos: have no effect.
            value: by default the queries.
            identity: the output is added to it; by default the queries.
            query_pos: added to the queries.
            attn_mask: must be None.
            key_padding_mask: (B, S), True at padding, whose values are 0.
            sampling: the reference points; required.
        """
        if sampling is None or attn_mask is not None:
            raise ValueError('deformable attention needs `sampling` and knows no attn_mask')
        value = query if value is None else value
        identity = query if identity is None else identity
        query = query if query_pos is None else query + query_pos
        if not self.batch_first:
            query, value = query.transpose(0, 1), value.transpose(0, 1)
        value = self.value_proj(value)
        if key_padding_mask is not None:
            value = value.masked_fill(key_padding_mask[..., None], 0.0)
        batch, num_query = query.shape[:2]
        weights = self.attention_weights(query).view(batch, num_query, self.num_heads, -1).softmax(-1)
        out: Tensor = sample_levels(
            value.view(batch, value.shape[1], self.num_heads, -1),
            sampling.shapes,
            locations=self._locations(query, sampling),
            weights=weights.view(batch, num_query, self.num_heads, self.num_levels, self.num_points),
        )
        out = self.output_proj(out)
        out = self.dropout(out if self.batch_first else out.transpose(0, 1))
        return out + identity

    def _locations(self, query: Tensor, sampling: Sampling) -> Tensor:
        """Sampled points, (B, Q, M, L, P, 2) normalised to 0..1 of each level."""
        offsets: Tensor = self.sampling_offsets(query).view(
            *query.shape[:2], self.num_heads, self.num_levels, self.num_points, 2
        )
        points = sampling.reference_points[:, :, None, :, None]  # (B, Q, 1, L, 1, 2 or 4)
        if points.shape[-1] == 2:
            sizes = offsets.new_tensor([[w, h] for h, w in sampling.shapes])  # (L, 2)
            return points + offsets / sizes[:, None]
        return points[..., :2] + offsets / self.num_points * points[..., 2:] * 0.5
