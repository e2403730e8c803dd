"""Transformer layers (arXiv:1706.03762) under the names of configs and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from torch import Tensor, nn

from mmkit.errors import InvalidValueError
from mmkit.layers.activation import build_activation_layer
from mmkit.layers.attention import Attention, Sampling
from mmkit.layers.base_module import BaseModule, ModuleList
from mmkit.layers.drop import build_dropout
from mmkit.layers.init import InitCfg
from mmkit.layers.norm import build_norm_layer
from mmkit.registry import (
    ATTENTION,
    FEEDFORWARD_NETWORK,
    TRANSFORMER_LAYER,
    TRANSFORMER_LAYER_SEQUENCE,
    Cfg,
    build_from_cfg,
)

RELU = dict(type='ReLU', inplace=True)
LAYER_NORM = dict(type='LN')
DEFAULT_FFN = dict(type='FFN', embed_dims=256, feedforward_channels=1024, num_fcs=2, ffn_drop=0.0, act_cfg=RELU)
OPERATIONS = ('self_attn', 'norm', 'ffn', 'cross_attn')


@FEEDFORWARD_NETWORK.register_module()
class FFN(BaseModule):
    """Feed-forward network: `num_fcs` linear layers with activations, dropout and a residual connection.

    Args:
        embed_dims: channels of input and output.
        feedforward_channels: channels of the hidden layers.
        num_fcs: number of linear layers, at least 2.
        act_cfg: kind of activation.
        ffn_drop: dropout after every linear layer.
        dropout_layer: dropout of the residual branch.
        add_identity: add the input.
        init_cfg: initial weights.
        add_residual, dropout: older spellings of `add_identity` and `ffn_drop`.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        feedforward_channels: int = 1024,
        num_fcs: int = 2,
        act_cfg: Cfg = RELU,
        ffn_drop: float = 0.0,
        dropout_layer: Cfg | None = None,
        add_identity: bool = True,
        init_cfg: InitCfg = None,
        add_residual: bool | None = None,
        dropout: float | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if num_fcs < 2:
            raise InvalidValueError(f'FFN has at least 2 linear layers, got num_fcs={num_fcs}', key='num_fcs')
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
        out: Tensor = self.dropout_layer(self.layers(x))
        if not self.add_identity:
            return out
        return (x if identity is None else identity) + out


@TRANSFORMER_LAYER.register_module()
class BaseTransformerLayer(BaseModule):
    """Attention, normalisation and feed-forward blocks in the order of `operation_order`.

    Args:
        attn_cfgs: one config for all attention blocks, or one for each.
        ffn_cfgs: one config for all feed-forward blocks, or one for each.
        operation_order: of 'self_attn', 'norm', 'ffn', 'cross_attn'; a layer that starts with 'norm' is pre-norm.
        norm_cfg: kind of norm.
        init_cfg: initial weights.
        batch_first: (B, N, C) instead of (N, B, C).
        feedforward_channels, ffn_dropout, ffn_num_fcs, act_cfg: older places of arguments of `ffn_cfgs`.
    """

    def __init__(
        self,
        attn_cfgs: Cfg | Sequence[Cfg] | None = None,
        ffn_cfgs: Cfg | Sequence[Cfg] = DEFAULT_FFN,
        operation_order: Sequence[str] | None = None,
        norm_cfg: Cfg = LAYER_NORM,
        init_cfg: InitCfg = None,
        batch_first: bool = False,
        feedforward_channels: int | None = None,
        ffn_dropout: float | None = None,
        ffn_num_fcs: int | None = None,
        act_cfg: Cfg | None = None,
    ) -> None:
        super().__init__(init_cfg)
        unknown = set(operation_order or ()) - set(OPERATIONS)
        if not operation_order or unknown:
            raise InvalidValueError(
                f'operation_order must be made of {OPERATIONS}, got {operation_order}', key='operation_order'
            )
        self.operation_order = tuple(operation_order)
        self.pre_norm = operation_order[0] == 'norm'
        self.batch_first = batch_first
        num_attn = self.operation_order.count('self_attn') + self.operation_order.count('cross_attn')
        attentions = [self._build_attention(cfg) for cfg in _one_each(attn_cfgs, num_attn, 'attn_cfgs')]
        self.attentions = ModuleList(attentions)
        self.embed_dims = attentions[0].embed_dims
        older = dict(
            feedforward_channels=feedforward_channels, ffn_drop=ffn_dropout, num_fcs=ffn_num_fcs, act_cfg=act_cfg
        )
        given = {key: value for key, value in older.items() if value is not None}
        ffns = [
            build_from_cfg({'type': 'FFN', **cfg, 'embed_dims': self.embed_dims, **given}, FEEDFORWARD_NETWORK)
            for cfg in _one_each(ffn_cfgs, self.operation_order.count('ffn'), 'ffn_cfgs')
        ]
        self.ffns = ModuleList(ffns)
        norms = [build_norm_layer(norm_cfg, self.embed_dims)[1] for _ in range(self.operation_order.count('norm'))]
        self.norms = ModuleList(norms)

    def _build_attention(self, cfg: Cfg) -> Attention:
        if cfg.get('batch_first', self.batch_first) != self.batch_first:
            raise InvalidValueError(
                f'batch_first of the attention differs from that of the layer, {self.batch_first}', key='batch_first'
            )
        return cast(Attention, build_from_cfg({**cfg, 'batch_first': self.batch_first}, ATTENTION))

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
        sampling: Sampling | None = None,
    ) -> Tensor:
        """Apply the blocks in order; shapes as in `MultiheadAttention`.

        Args:
            query: queries of the first block.
            key, value: of the cross attention.
            query_pos: added to the queries, and to the keys of the self attention.
            key_pos: added to the keys of the cross attention.
            attn_masks: one for each attention block.
            query_key_padding_mask: (B, N) for self attention.
            key_padding_mask: (B, M) for cross attention.
            sampling: reference points of deformable attention.
        """
        masks = attn_masks if attn_masks is not None else [None] * len(self.attentions)
        attentions, ffns, norms = iter(zip(self.attentions, masks, strict=True)), iter(self.ffns), iter(self.norms)
        identity = query
        for operation in self.operation_order:
            if operation == 'norm':
                query = next(norms)(query)
                continue
            # In a pre-norm layer the residual is the state before the norm; elsewhere it is the query itself.
            residual = identity if self.pre_norm else None
            if operation == 'ffn':
                query = next(ffns)(query, residual)
            else:
                attention, mask = next(attentions)
                is_self = operation == 'self_attn'
                needs_sampling = isinstance(attention, Attention) and attention.needs_sampling
                extra = dict(sampling=sampling) if needs_sampling else {}
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


def _one_each(cfgs: Cfg | Sequence[Cfg] | None, count: int, key: str) -> list[Cfg]:
    """One config for each of `count` blocks, from one for all or a list; `key` is the argument."""
    if cfgs is None:
        raise InvalidValueError(f'{key} is missing', key=key)
    if isinstance(cfgs, Mapping):
        return [cfgs] * count
    if len(cfgs) != count:
        raise InvalidValueError(f'{key} has {len(cfgs)} configs for {count} blocks', key=key)
    return list(cfgs)


@TRANSFORMER_LAYER_SEQUENCE.register_module()
class TransformerLayerSequence(BaseModule):
    """A stack of `num_layers` transformer layers.

    Args:
        transformerlayers: one config for all layers, or one for each.
        num_layers: number of layers; required.
        init_cfg: initial weights.
    """

    def __init__(
        self,
        transformerlayers: Cfg | Sequence[Cfg] | None = None,
        num_layers: int | None = None,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(init_cfg)
        if num_layers is None:
            raise InvalidValueError(f'{type(self).__name__} needs num_layers', key='num_layers')
        self.num_layers = num_layers
        cfgs = _one_each(transformerlayers, num_layers, 'transformerlayers')
        layers = [cast(BaseTransformerLayer, build_from_cfg(cfg, TRANSFORMER_LAYER)) for cfg in cfgs]
        self.layers = ModuleList(layers)
        self.embed_dims, self.pre_norm = layers[0].embed_dims, layers[0].pre_norm

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
        sampling: Sampling | None = None,
    ) -> Tensor:
        """Apply the layers in order; arguments as in `BaseTransformerLayer`."""
        for layer in self.layers:
            query = layer(
                query,
                key,
                value,
                query_pos=query_pos,
                key_pos=key_pos,
                attn_masks=attn_masks,
                query_key_padding_mask=query_key_padding_mask,
                key_padding_mask=key_padding_mask,
                sampling=sampling,
            )
        return query
