"""DETR's encoder and decoder, arXiv:2005.12872."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.layers import BaseModule, build_norm_layer
from mmkit.layers.transformer import BaseTransformerLayer, TransformerLayerSequence
from mmkit.models.dense_heads.query.cells import flatten_levels
from mmkit.models.dense_heads.query.outputs import Decoded
from mmkit.registry import TRANSFORMER, TRANSFORMER_LAYER, TRANSFORMER_LAYER_SEQUENCE, Cfg, build_from_cfg


@TRANSFORMER_LAYER.register_module()
class DetrTransformerDecoderLayer(BaseTransformerLayer):
    """Self attention among queries, cross attention to the image, a feed-forward block, and a norm for each."""

    def __init__(
        self,
        attn_cfgs: Cfg | Sequence[Cfg],
        feedforward_channels: int,
        ffn_dropout: float = 0.0,
        operation_order: Sequence[str] | None = None,
        act_cfg: Cfg = dict(type='ReLU', inplace=True),
        norm_cfg: Cfg = dict(type='LN'),
        ffn_num_fcs: int = 2,
        init_cfg: Cfg | None = None,
        batch_first: bool = False,
    ) -> None:
        super().__init__(
            attn_cfgs=attn_cfgs,
            feedforward_channels=feedforward_channels,
            ffn_dropout=ffn_dropout,
            operation_order=operation_order,
            act_cfg=act_cfg,
            norm_cfg=norm_cfg,
            ffn_num_fcs=ffn_num_fcs,
            init_cfg=init_cfg,
            batch_first=batch_first,
        )
        if sorted(self.operation_order) != ['cross_attn', 'ffn', 'norm', 'norm', 'norm', 'self_attn']:
            raise InvalidValueError(
                f'operation_order of a decoder layer holds self_attn, cross_attn, ffn and three norm, '
                f'got {self.operation_order}',
                key='operation_order',
            )


@TRANSFORMER_LAYER_SEQUENCE.register_module()
class DetrTransformerEncoder(TransformerLayerSequence):
    """Layers of self attention; pre-norm layers are followed by a last norm."""

    def __init__(
        self,
        transformerlayers: Cfg | Sequence[Cfg] | None = None,
        num_layers: int | None = None,
        init_cfg: Cfg | None = None,
        post_norm_cfg: Cfg | None = dict(type='LN'),
    ) -> None:
        super().__init__(transformerlayers, num_layers, init_cfg)
        self.post_norm = (
            build_norm_layer(post_norm_cfg, self.embed_dims)[1] if self.pre_norm and post_norm_cfg else None
        )

    def forward(self, query: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        query = super().forward(query, *args, **kwargs)
        return query if self.post_norm is None else self.post_norm(query)


@TRANSFORMER_LAYER_SEQUENCE.register_module()
class DetrTransformerDecoder(TransformerLayerSequence):
    """Layers of self and cross attention, with one norm for the output of each.

    Args:
        return_intermediate: give the output of every layer, not only of the last.
    """

    def __init__(
        self,
        transformerlayers: Cfg | Sequence[Cfg] | None = None,
        num_layers: int | None = None,
        init_cfg: Cfg | None = None,
        post_norm_cfg: Cfg | None = dict(type='LN'),
        return_intermediate: bool = False,
    ) -> None:
        super().__init__(transformerlayers, num_layers, init_cfg)
        self.return_intermediate = return_intermediate
        self.post_norm = build_norm_layer(post_norm_cfg, self.embed_dims)[1] if post_norm_cfg else nn.Identity()

    def forward(self, query: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """(Q, B, C) -> (layers or 1, Q, B, C)."""
        outputs = []
        for layer in self.layers:
            query = layer(query, *args, **kwargs)
            outputs.append(query)
        return torch.stack([self.post_norm(x) for x in (outputs if self.return_intermediate else outputs[-1:])])


def build_sequence(cfg: Cfg | None, name: str) -> TransformerLayerSequence:
    """The encoder or decoder of a transformer."""
    if cfg is None:
        raise InvalidValueError(f'a transformer needs an {name}, got None', key=name)
    sequence = build_from_cfg(cfg, TRANSFORMER_LAYER_SEQUENCE)
    if not isinstance(sequence, TransformerLayerSequence):
        kind = type(sequence).__name__
        raise InvalidTypeError(f'the {name} must be a TransformerLayerSequence, got {kind}', key=name)
    return sequence


@TRANSFORMER.register_module()
class Transformer(BaseModule):
    """An encoder over the cells of one level and a decoder over queries.

    Args:
        encoder, decoder: of the registry of transformer layer sequences.
    """

    def __init__(
        self,
        encoder: Cfg | None = None,
        decoder: Cfg | None = None,
        init_cfg: Cfg | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.encoder = build_sequence(encoder, 'encoder')
        self.decoder = build_sequence(decoder, 'decoder')
        self.embed_dims = self.encoder.embed_dims

    def init_weights(self) -> None:
        """Xavier for everything with more than one dimension."""
        super().init_weights()
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, feat: Tensor, mask: Tensor | None, encoding: nn.Module, query_embed: Tensor) -> Decoded:
        """Decode the queries.

        Args:
            feat: (B, C, h, w).
            mask: (B, H, W), True at padding; None: nowhere.
            encoding: of the positions of cells.
            query_embed: (Q, C), the positions of queries.
        """
        cells = flatten_levels([feat], mask, encoding)
        tokens, pos = cells.tokens.transpose(0, 1), cells.pos.transpose(0, 1)  # (S, B, C)
        query_pos = query_embed[:, None].expand(-1, len(feat), -1)
        memory = self.encoder(tokens, None, None, query_pos=pos, query_key_padding_mask=cells.padding)
        decoded: Tensor = self.decoder(
            torch.zeros_like(query_pos),
            memory,
            memory,
            query_pos=query_pos,
            key_pos=pos,
            key_padding_mask=cells.padding,
        )
        return Decoded(decoded.transpose(1, 2), [])
