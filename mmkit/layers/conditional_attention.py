"""Attention with separate projections of contents and positions (Conditional DETR, arXiv:2108.06152)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmkit.layers.attention import Attention
from mmkit.layers.init import InitCfg


class ConditionalAttention(Attention):
    """Attention of queries that are the sum of content and position, with a residual connection; batch first.

    Cross attention also compares a spatial query with the positions of the keys, side by side with the contents, so
    that either can attend without the other.

    Args:
        embed_dims: channels C.
        num_heads: attention heads.
        attn_drop: dropout of the attention weights.
        proj_drop: dropout of the output.
        cross_attn: compare spatial queries with positions of keys, too.
        with_query_pos: add the positions to the contents. In cross attention all layers but the first do without.
        init_cfg: initial weights.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        cross_attn: bool = False,
        with_query_pos: bool = True,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(init_cfg)
        self.embed_dims = embed_dims
        self.num_heads = num_heads
        self.batch_first = True
        self.attn_drop = nn.Dropout(attn_drop)
        self.proj_drop = nn.Dropout(proj_drop)
        self.qcontent_proj = nn.Linear(embed_dims, embed_dims)
        self.qpos_proj = nn.Linear(embed_dims, embed_dims) if with_query_pos else None
        self.kcontent_proj = nn.Linear(embed_dims, embed_dims)
        self.kpos_proj = nn.Linear(embed_dims, embed_dims)
        self.v_proj = nn.Linear(embed_dims, embed_dims)
        self.qpos_sine_proj = nn.Linear(embed_dims, embed_dims) if cross_attn else None
        self.out_proj = nn.Linear(embed_dims, embed_dims)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        query_pos: Tensor,
        key_pos: Tensor,
        spatial: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
    ) -> Tensor:
        """Attend from (B, Q, C) queries to (B, S, C) keys.

        Args:
            query_pos, key_pos: positions, of the shapes of queries and keys.
            spatial: (B, Q, C) spatial queries; required in cross attention.
            key_padding_mask: (B, S), True at padding.
        """
        q, k, v = self.qcontent_proj(query), self.kcontent_proj(key), self.v_proj(key)
        k_pos = self.kpos_proj(key_pos)
        if self.qpos_proj is not None:
            q, k = q + self.qpos_proj(query_pos), k + k_pos
        q, k, v = self._heads(q), self._heads(k), self._heads(v)
        if self.qpos_sine_proj is not None:
            if spatial is None:
                raise ValueError('cross attention needs `spatial`')
            q = torch.cat([q, self._heads(self.qpos_sine_proj(spatial))], dim=-1)
            k = torch.cat([k, self._heads(k_pos)], dim=-1)
        mask = None if key_padding_mask is None else ~key_padding_mask[:, None, None]  # (B, 1, 1, S)
        dropout = self.attn_drop.p if self.training else 0.0
        out: Tensor = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        out = self.proj_drop(self.out_proj(out.transpose(1, 2).flatten(2)))
        return query + out

    def _heads(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, heads, N, C / heads)."""
        batch, count, _ = x.shape
        return x.view(batch, count, self.num_heads, -1).transpose(1, 2)
