"""Attention layers (arXiv:1706.03762) under the names of configs and checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from mmkit.layers.base_module import BaseModule
from mmkit.layers.drop import build_dropout
from mmkit.layers.init import InitCfg
from mmkit.registry import ATTENTION, Cfg

NO_DROPOUT = dict(type='Dropout', drop_prob=0.0)


@dataclass
class Sampling:
    """Reference points around which deformable attention samples the feature maps.

    Attributes:
        reference_points: (B, Q, L, 2) points or (B, Q, L, 4) boxes cx cy w h, normalised to 0..1 of each level.
        shapes: (height, width) of the L levels, whose cells the values hold one level after the other.
    """

    reference_points: Tensor
    shapes: Sequence[tuple[int, int]]


class Attention(BaseModule):
    """Base class of attention layers.

    Attributes:
        needs_sampling: `forward` takes `sampling`, a `Sampling`.
        embed_dims: channels of queries and outputs.
        batch_first: (B, N, C) instead of (N, B, C).
    """

    needs_sampling = False
    embed_dims: int
    batch_first: bool


@ATTENTION.register_module()
class MultiheadAttention(Attention):
    """`nn.MultiheadAttention` with positions added to queries and keys, and a residual connection.

    Args:
        embed_dims: channels C.
        num_heads: attention heads.
        attn_drop: dropout of the attention weights.
        proj_drop: dropout of the output.
        dropout_layer: dropout of the residual branch.
        batch_first: (B, N, C) instead of (N, B, C).
        init_cfg: initial weights.
        dropout: older spelling of `attn_drop` and the `drop_prob` of `dropout_layer`.
        bias, add_bias_kv, add_zero_attn, kdim, vdim: as in `nn.MultiheadAttention`.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        dropout_layer: Cfg | None = NO_DROPOUT,
        init_cfg: InitCfg = None,
        batch_first: bool = False,
        dropout: float | None = None,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if dropout is not None:
            attn_drop = dropout
            dropout_layer = {**(dropout_layer or dict(type='Dropout')), 'drop_prob': dropout}
        self.embed_dims = embed_dims
        self.num_heads = num_heads
        self.batch_first = batch_first
        self.attn = nn.MultiheadAttention(
            embed_dims,
            num_heads,
            dropout=attn_drop,
            bias=bias,
            add_bias_kv=add_bias_kv,
            add_zero_attn=add_zero_attn,
            kdim=kdim,
            vdim=vdim,
            batch_first=batch_first,
        )
        self.proj_drop = nn.Dropout(proj_drop)
        self.dropout_layer = build_dropout(dropout_layer) if dropout_layer else nn.Identity()

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
    ) -> Tensor:
        """Attend from (N, B, C) queries to (M, B, C) keys; with `batch_first` B is the first dimension.

        Args:
            query: the queries.
            key: by default the queries.
            value: by default the keys.
            identity: the output is added to it; by default the queries.
            query_pos: added to the queries.
            key_pos: added to the keys; by default `query_pos`, if there are as many keys as queries.
            attn_mask: (N, M), True or -inf where attention is not allowed.
            key_padding_mask: (B, M), True at padding.
        """
        key = query if key is None else key
        value = key if value is None else value
        identity = query if identity is None else identity
        if key_pos is None and query_pos is not None and query_pos.shape == key.shape:
            key_pos = query_pos
        query = query if query_pos is None else query + query_pos
        key = key if key_pos is None else key + key_pos
        out: Tensor = self.attn(query, key, value, key_padding_mask, need_weights=False, attn_mask=attn_mask)[0]
        out = self.dropout_layer(self.proj_drop(out))
        return identity + out
