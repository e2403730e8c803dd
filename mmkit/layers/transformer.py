"""The blocks of transformers (arXiv:1706.03762) under the names that configs and checkpoints use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from mmkit.layers.activation import build_activation_layer
from mmkit.layers.base_module import BaseModule, ModuleList
from mmkit.layers.drop import build_dropout
from mmkit.layers.init import InitCfg
from mmkit.layers.norm import build_norm_layer
from mmkit.registry import (
    ATTENTION,
    FEEDFORWARD_NETWORK,
    TRANSFORMER_LAYER,
    TRANSFORMER_LAYER_SEQUENCE,
    build_from_cfg,
)

OPERATIONS = ('self_attn', 'norm', 'ffn', 'cross_attn')


@ATTENTION.register_module()
class MultiheadAttention(BaseModule):
    """`nn.MultiheadAttention` with positions added to queries and keys, and a residual connection.

    Args:
        embed_dims: C.
        attn_drop: dropout of the attention weights.
        proj_drop: dropout of the output.
        dropout_layer: dropout of the residual branch.
        batch_first: (B, N, C) instead of (N, B, C).
        dropout: older spelling of `attn_drop` and the `drop_prob` of `dropout_layer`.
        bias, add_bias_kv, add_zero_attn, kdim, vdim: as in `nn.MultiheadAttention`.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        dropout_layer: Mapping[str, Any] | None = dict(type='Dropout', drop_prob=0.0),
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
            embed_dims, num_heads, attn_drop, bias, add_bias_kv, add_zero_attn, kdim, vdim, batch_first
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
        """Attend from (N, B, C) queries to (M, B, C) keys; batch first if so built.

        Args:
            key: default: the queries; `value`: default: the keys.
            identity: what the outcome is added to; default: the queries.
            key_pos: default: `query_pos`, if there are as many keys as queries.
            attn_mask: (N, M), True or -inf where attention is barred.
            key_padding_mask: (B, M), True at padding.
        """
        key = query if key is None else key
        value = key if value is None else value
        identity = query if identity is None else identity
        if key_pos is None and query_pos is not None and query_pos.shape == key.shape:
            key_pos = query_pos
        query = query if query_pos is None else query + query_pos
        key = key if key_pos is None else key + key_pos
        out = self.attn(query, key, value, key_padding_mask, need_weights=False, attn_mask=attn_mask)[0]
        return identity + self.dropout_layer(self.proj_drop(out))


@FEEDFORWARD_NETWORK.register_module()
class FFN(BaseModule):
    """`num_fcs` linear layers with activation and dropout between them, and a residual connection.

    Args:
        add_residual: older spelling of `add_identity`.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        feedforward_channels: int = 1024,
        num_fcs: int = 2,
        act_cfg: Mapping[str, Any] = dict(type='ReLU', inplace=True),
        ffn_drop: float = 0.0,
        dropout_layer: Mapping[str, Any] | None = None,
        add_identity: bool = True,
        init_cfg: InitCfg = None,
        add_residual: bool | None = None,
        dropout: float | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if num_fcs < 2:
            raise ValueError(f'FFN has at least 2 linear layers, got num_fcs={num_fcs}')
        self.embed_dims = embed_dims
        self.add_identity = add_identity if add_residual is None else add_residual
        ffn_drop = ffn_drop if dropout is None else dropout
        widths = [embed_dims, *[feedforward_channels] * (num_fcs - 1)]
        hidden = [
            nn.Sequential(nn.Linear(a, b), build_activation_layer(act_cfg), nn.Dropout(ffn_drop))
            for a, b in zip(widths[:-1], widths[1:], strict=True)
        ]
        self.layers = nn.Sequential(*hidden, nn.Linear(widths[-1], embed_dims), nn.Dropout(ffn_drop))
        self.dropout_layer = build_dropout(dropout_layer) if dropout_layer else nn.Identity()

    def forward(self, x: Tensor, identity: Tensor | None = None) -> Tensor:
        out = self.dropout_layer(self.layers(x))
        if not self.add_identity:
            return out
        return (x if identity is None else identity) + out


@TRANSFORMER_LAYER.register_module()
class BaseTransformerLayer(BaseModule):
    """Attention, normalisation and feed-forward blocks in the order of `operation_order`.

    Args:
        attn_cfgs: one config for all attention blocks, or one for each.
        ffn_cfgs: one config for all feed-forward blocks, or one for each.
        operation_order: of 'self_attn', 'norm', 'ffn', 'cross_attn'; starting with 'norm' makes it pre-norm.
        batch_first: (B, N, C) instead of (N, B, C).
        feedforward_channels, ffn_dropout, ffn_num_fcs, act_cfg: older spellings of what belongs into `ffn_cfgs`.
    """

    def __init__(
        self,
        attn_cfgs: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        ffn_cfgs: Mapping[str, Any] | Sequence[Mapping[str, Any]] = dict(
            type='FFN',
            embed_dims=256,
            feedforward_channels=1024,
            num_fcs=2,
            ffn_drop=0.0,
            act_cfg=dict(type='ReLU', inplace=True),
        ),
        operation_order: Sequence[str] | None = None,
        norm_cfg: Mapping[str, Any] = dict(type='LN'),
        init_cfg: InitCfg = None,
        batch_first: bool = False,
        feedforward_channels: int | None = None,
        ffn_dropout: float | None = None,
        ffn_num_fcs: int | None = None,
        act_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        unknown = set(operation_order or ()) - set(OPERATIONS)
        if not operation_order or unknown:
            raise ValueError(f'operation_order must be made of {OPERATIONS}, got {operation_order}')
        self.operation_order = tuple(operation_order)
        self.pre_norm = operation_order[0] == 'norm'
        self.batch_first = batch_first
        num_attn = self.operation_order.count('self_attn') + self.operation_order.count('cross_attn')
        self.attentions = ModuleList([self._build_attention(cfg) for cfg in _spread(attn_cfgs, num_attn, 'attn_cfgs')])
        self.embed_dims = self.attentions[0].embed_dims
        older = dict(
            feedforward_channels=feedforward_channels, ffn_drop=ffn_dropout, num_fcs=ffn_num_fcs, act_cfg=act_cfg
        )
        given = {key: value for key, value in older.items() if value is not None}
        ffns = [
            build_from_cfg({'type': 'FFN', **cfg, 'embed_dims': self.embed_dims, **given}, FEEDFORWARD_NETWORK)
            for cfg in _spread(ffn_cfgs, self.operation_order.count('ffn'), 'ffn_cfgs')
        ]
        self.ffns = ModuleList(ffns)
        norms = [build_norm_layer(norm_cfg, self.embed_dims)[1] for _ in range(self.operation_order.count('norm'))]
        self.norms = ModuleList(norms)

    def _build_attention(self, cfg: Mapping[str, Any]) -> nn.Module:
        if cfg.get('batch_first', self.batch_first) != self.batch_first:
            raise ValueError(f'batch_first of the attention differs from that of the layer, {self.batch_first}')
        return build_from_cfg({**cfg, 'batch_first': self.batch_first}, ATTENTION)

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        query_pos: Tensor | None = None,
        key_pos: Tensor | None = None,
        attn_masks: Sequence[Tensor | None] | None = None,
        query_key_padding_mask: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        sampling: Any = None,
    ) -> Tensor:
        """Run the blocks; masks as in `MultiheadAttention`.

        Args:
            attn_masks: one for each attention block.
            query_key_padding_mask: (B, N) for self attention; `key_padding_mask` (B, M) for cross attention.
            sampling: where deformable attention looks, see `mmkit.layers.deformable_attention.Sampling`.
        """
        masks = attn_masks if attn_masks is not None else [None] * len(self.attentions)
        attentions, ffns, norms = iter(zip(self.attentions, masks, strict=True)), iter(self.ffns), iter(self.norms)
        identity = query
        for operation in self.operation_order:
            if operation == 'norm':
                query = next(norms)(query)
                continue
            # Before the first norm of a pre-norm layer `query` still is the identity; after it, it is not.
            residual = identity if self.pre_norm else None
            if operation == 'ffn':
                query = next(ffns)(query, residual)
            else:
                attention, mask = next(attentions)
                is_self = operation == 'self_attn'
                extra = dict(sampling=sampling) if getattr(attention, 'needs_sampling', False) else {}
                query = attention(
                    query,
                    query if is_self else key,
                    query if is_self else value,
                    residual,
                    query_pos=query_pos,
                    key_pos=query_pos if is_self else key_pos,
                    attn_mask=mask,
                    key_padding_mask=query_key_padding_mask if is_self else key_padding_mask,
                    **extra,
                )
            identity = query
        return query


def _spread(cfgs: Any, count: int, name: str) -> list[Mapping[str, Any]]:
    """One config for each of `count` blocks."""
    if cfgs is None:
        raise ValueError(f'{name} is missing')
    if isinstance(cfgs, Mapping):
        return [cfgs] * count
    if len(cfgs) != count:
        raise ValueError(f'{name} has {len(cfgs)} configs for {count} blocks of operation_order')
    return list(cfgs)


@TRANSFORMER_LAYER_SEQUENCE.register_module()
class TransformerLayerSequence(BaseModule):
    """`num_layers` layers in a row.

    Args:
        transformerlayers: one config for all layers, or one for each.
    """

    def __init__(
        self,
        transformerlayers: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        num_layers: int | None = None,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(init_cfg)
        if num_layers is None:
            raise ValueError(f'{type(self).__name__} needs num_layers')
        self.num_layers = num_layers
        cfgs = _spread(transformerlayers, num_layers, 'transformerlayers')
        self.layers = ModuleList([build_from_cfg(cfg, TRANSFORMER_LAYER) for cfg in cfgs])
        self.embed_dims = self.layers[0].embed_dims
        self.pre_norm = self.layers[0].pre_norm

    def forward(
        self,
        query: Tensor,
        key: Tensor | None,
        value: Tensor | None,
        query_pos: Tensor | None = None,
        key_pos: Tensor | None = None,
        attn_masks: Sequence[Tensor | None] | None = None,
        query_key_padding_mask: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        sampling: Any = None,
    ) -> Tensor:
        """See `BaseTransformerLayer`."""
        for layer in self.layers:
            query = layer(
                query, key, value, query_pos, key_pos, attn_masks, query_key_padding_mask, key_padding_mask, sampling
            )
        return query
