"""Encoders and layers of transformers that hang in the detector: batch first, with a norm behind each block."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from mmkit.errors import InvalidValueError
from mmkit.layers import FFN, Attention, BaseModule, ModuleList, MultiheadAttention, build_norm_layer
from mmkit.layers.conditional_attention import ConditionalAttention
from mmkit.layers.init import InitCfg
from mmkit.models.dense_heads.query.cells import Cells, cell_references
from mmkit.registry import ATTENTION, FEEDFORWARD_NETWORK, Cfg

LAYER_NORM = dict(type='LN')


class MLP(BaseModule):
    """Linear layers with ReLU between them."""

    def __init__(self, in_channels: int, hidden: int, out_channels: int, num_layers: int) -> None:
        super().__init__()
        widths = [in_channels, *[hidden] * (num_layers - 1), out_channels]
        self.layers = ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:]))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        out: Tensor = self.layers[-1](x)
        return out


def build_attention(cfg: Cfg, kind: type[Attention]) -> Attention:
    """Attention of a `kind` that the config need not name.

    Raises:
        InvalidValueError: if it is not batch first.
    """
    if not cfg.get('batch_first', True):
        raise InvalidValueError('these layers are batch first, got batch_first=False', key='batch_first')
    return cast(Attention, ATTENTION.build(cfg, type=kind, batch_first=True))


def build_ffn(cfg: Cfg) -> FFN:
    return cast(FFN, FEEDFORWARD_NETWORK.build(cfg, type=FFN))


def build_norms(cfg: Cfg, embed_dims: int, count: int) -> ModuleList:
    return ModuleList(build_norm_layer(cfg, embed_dims)[1] for _ in range(count))


class EncoderLayer(BaseModule):
    """Self attention among cells and a feed-forward network.

    Args:
        self_attn_cfg, ffn_cfg: arguments of the blocks.
        attention: kind of the self attention.
        norm_cfg: kind of norm.
    """

    def __init__(
        self,
        self_attn_cfg: Cfg,
        ffn_cfg: Cfg,
        attention: type[Attention] = MultiheadAttention,
        norm_cfg: Cfg = LAYER_NORM,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(init_cfg)
        self.self_attn = build_attention(self_attn_cfg, attention)
        self.embed_dims = self.self_attn.embed_dims
        self.ffn = build_ffn(ffn_cfg)
        self.norms = build_norms(norm_cfg, self.embed_dims, 2)

    def forward(self, tokens: Tensor, cells: Cells, pos: Tensor, references: Tensor) -> Tensor:
        """New tokens (B, S, C) of the cells, with positions `pos` (B, S, C), around `references` (B, S, 2)."""
        extra = dict(sampling=cells.around(references)) if self.self_attn.needs_sampling else {}
        attended = self.self_attn(tokens, query_pos=pos, key_pos=pos, key_padding_mask=cells.padding, **extra)
        out: Tensor = self.norms[1](self.ffn(self.norms[0](attended)))
        return out


class Encoder(BaseModule):
    """Layers of self attention among cells.

    Args:
        num_layers: number of layers.
        layer_cfg: arguments of an `EncoderLayer`.
        attention: kind of the self attention.
        scales_positions: each layer scales the positions by a function of its input (DAB-DETR).
    """

    def __init__(
        self,
        num_layers: int,
        layer_cfg: Cfg,
        attention: type[Attention] = MultiheadAttention,
        scales_positions: bool = False,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(init_cfg)
        layers = [EncoderLayer(**layer_cfg, attention=attention) for _ in range(num_layers)]
        self.layers = ModuleList(layers)
        self.embed_dims = dims = layers[0].embed_dims
        self.query_scale = MLP(dims, dims, dims, 2) if scales_positions else None

    def forward(self, cells: Cells) -> Cells:
        """The cells with encoded tokens."""
        tokens, references = cells.tokens, cell_references(cells)
        for layer in self.layers:
            pos = cells.pos if self.query_scale is None else cells.pos * self.query_scale(tokens)
            tokens = layer(tokens, cells, pos, references)
        return cells._replace(tokens=tokens)


class DecoderLayer(BaseModule):
    """Self attention among queries, cross attention to cells and a feed-forward network.

    Args:
        self_attn_cfg, cross_attn_cfg, ffn_cfg: arguments of the blocks.
        cross_attention: kind of the cross attention.
        norm_cfg: kind of norm.
    """

    def __init__(
        self,
        self_attn_cfg: Cfg,
        cross_attn_cfg: Cfg,
        ffn_cfg: Cfg,
        cross_attention: type[Attention] = MultiheadAttention,
        norm_cfg: Cfg = LAYER_NORM,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(init_cfg)
        self.self_attn = build_attention(self_attn_cfg, MultiheadAttention)
        self.cross_attn = build_attention(cross_attn_cfg, cross_attention)
        self.embed_dims = self.self_attn.embed_dims
        self.ffn = build_ffn(ffn_cfg)
        self.norms = build_norms(norm_cfg, self.embed_dims, 3)

    def forward(
        self,
        query: Tensor,
        query_pos: Tensor,
        memory: Cells,
        references: Tensor | None = None,
        attn_mask: Tensor | None = None,
    ) -> Tensor:
        """New queries (B, Q, C).

        Args:
            query, query_pos: (B, Q, C).
            memory: encoded cells.
            references: (B, Q, 2 or 4), around which deformable attention samples.
            attn_mask: (Q, Q) or (B * heads, Q, Q) bool, True where queries don't see each other.
        """
        query = self.norms[0](self.self_attn(query, query_pos=query_pos, key_pos=query_pos, attn_mask=attn_mask))
        extra = {} if references is None else dict(sampling=memory.around(references))
        query = self.cross_attn(
            query,
            key=memory.tokens,
            value=memory.tokens,
            query_pos=query_pos,
            key_pos=memory.pos,
            key_padding_mask=memory.padding,
            **extra,
        )
        out: Tensor = self.norms[2](self.ffn(self.norms[1](query)))
        return out


class ConditionalDecoderLayer(BaseModule):
    """A decoder layer whose cross attention compares contents and positions side by side (arXiv:2108.06152).

    Args:
        self_attn_cfg, cross_attn_cfg, ffn_cfg: arguments of the blocks.
        is_first: add the positions of queries to their contents in the cross attention.
        norm_cfg: kind of norm.
    """

    def __init__(
        self,
        self_attn_cfg: Cfg,
        cross_attn_cfg: Cfg,
        ffn_cfg: Cfg,
        is_first: bool,
        norm_cfg: Cfg = LAYER_NORM,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(init_cfg)
        for cfg, expected in ((self_attn_cfg, False), (cross_attn_cfg, True)):
            if cfg.get('cross_attn', expected) != expected:
                raise InvalidValueError(f'cross_attn of this attention is {expected}', key='cross_attn')
        self.self_attn = cast(ConditionalAttention, ATTENTION.build(self_attn_cfg, type=ConditionalAttention))
        cross = dict(type=ConditionalAttention, cross_attn=True, with_query_pos=is_first)
        self.cross_attn = cast(ConditionalAttention, ATTENTION.build(cross_attn_cfg, **cross))
        self.embed_dims = self.self_attn.embed_dims
        self.ffn = build_ffn(ffn_cfg)
        self.norms = build_norms(norm_cfg, self.embed_dims, 3)

    def forward(self, query: Tensor, query_pos: Tensor, memory: Cells, spatial: Tensor) -> Tensor:
        """New queries (B, Q, C), from spatial queries (B, Q, C) and the others as in `DecoderLayer`."""
        query = self.norms[0](self.self_attn(query, query, query_pos=query_pos, key_pos=query_pos))
        query = self.cross_attn(
            query,
            memory.tokens,
            query_pos=query_pos,
            key_pos=memory.pos,
            spatial=spatial,
            key_padding_mask=memory.padding,
        )
        out: Tensor = self.norms[2](self.ffn(self.norms[1](query)))
        return out
