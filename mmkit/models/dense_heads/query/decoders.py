"""Decoders of transformers that hang in the detector: batch first, one `Decoded` of all layers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mmkit.errors import InvalidValueError
from mmkit.layers import BaseModule, ModuleList, MultiScaleDeformableAttention, build_norm_layer
from mmkit.layers.init import InitCfg
from mmkit.models.dense_heads.query.cells import Cells
from mmkit.models.dense_heads.query.layers import LAYER_NORM, MLP, ConditionalDecoderLayer, DecoderLayer
from mmkit.models.dense_heads.query.outputs import Decoded
from mmkit.models.dense_heads.query.references import Refine, decode_around, encode_references
from mmkit.registry import Cfg

Look = Callable[[int, Tensor, Tensor], Tensor | None]  # (index of a layer, queries, references) -> attention mask


class Decoder(BaseModule):
    """DETR's decoder (arXiv:2005.12872), with one norm for the output of each layer.

    Args:
        num_layers: number of layers.
        layer_cfg: arguments of a `DecoderLayer`.
        post_norm_cfg: kind of the norm; None: no norm.
        return_intermediate: give the output of every layer, not only of the last.
    """

    def __init__(
        self,
        num_layers: int,
        layer_cfg: Cfg,
        post_norm_cfg: Cfg | None = LAYER_NORM,
        return_intermediate: bool = True,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(init_cfg)
        layers = [DecoderLayer(**layer_cfg) for _ in range(num_layers)]
        self.layers = ModuleList(layers)
        self.return_intermediate = return_intermediate
        self.post_norm = build_post_norm(post_norm_cfg, layers[0].embed_dims)

    def forward(self, query: Tensor, query_pos: Tensor, memory: Cells) -> Decoded:
        """Decode (B, Q, C) queries with positions of the same shape."""
        states = []
        for layer in self.layers:
            query = layer(query, query_pos, memory)
            states.append(self.post_norm(query))
        return Decoded(torch.stack(states), []).last_of(not self.return_intermediate)


class ConditionalDecoder(BaseModule):
    """Conditional DETR's decoder (arXiv:2108.06152): each query has a reference point and looks for a part around it.

    Args:
        num_layers: number of layers.
        layer_cfg: arguments of a `ConditionalDecoderLayer`.
        post_norm_cfg, return_intermediate: as in `Decoder`.
    """

    def __init__(
        self,
        num_layers: int,
        layer_cfg: Cfg,
        post_norm_cfg: Cfg | None = LAYER_NORM,
        return_intermediate: bool = True,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(init_cfg)
        layers = [ConditionalDecoderLayer(**layer_cfg, is_first=index == 0) for index in range(num_layers)]
        self.layers = ModuleList(layers)
        self.return_intermediate = return_intermediate
        self.embed_dims = dims = layers[0].embed_dims
        self.post_norm = build_post_norm(post_norm_cfg, dims)
        self.query_scale = MLP(dims, dims, dims, 2)
        self.ref_point_head = MLP(dims, dims, 2, 2)

    def forward(self, query: Tensor, query_pos: Tensor, memory: Cells) -> Decoded:
        """Decode (B, Q, C) queries with positions of the same shape, from which their reference points follow."""
        points = self.ref_point_head(query_pos).sigmoid()  # (B, Q, 2)
        encoded = encode_references(points, self.embed_dims // 2)  # (B, Q, C)
        states = []
        for index, layer in enumerate(self.layers):
            spatial = encoded * self.query_scale(query) if index else encoded
            query = layer(query, query_pos, memory, spatial)
            states.append(self.post_norm(query))
        return Decoded(torch.stack(states), [points] * len(states)).last_of(not self.return_intermediate)


class AnchorDecoder(BaseModule):
    """DAB-DETR's decoder (arXiv:2201.12329): queries are boxes, which each layer refines.

    Args:
        num_layers: number of layers.
        layer_cfg: arguments of a `ConditionalDecoderLayer`.
        query_dim: must be 4, centre and size.
        query_scale_type: 'cond_elewise' or 'cond_scalar': a factor for each channel of the spatial query, or one.
        with_modulated_hw_attn: divide the spatial query by the size of the box.
        post_norm_cfg, return_intermediate: as in `Decoder`.
    """

    def __init__(
        self,
        num_layers: int,
        layer_cfg: Cfg,
        query_dim: int = 4,
        query_scale_type: str = 'cond_elewise',
        with_modulated_hw_attn: bool = True,
        post_norm_cfg: Cfg | None = LAYER_NORM,
        return_intermediate: bool = True,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(init_cfg)
        if query_dim != 4:
            raise InvalidValueError(f'queries are boxes: query_dim must be 4, got {query_dim}', key='query_dim')
        layers = [ConditionalDecoderLayer(**layer_cfg, is_first=index == 0) for index in range(num_layers)]
        self.layers = ModuleList(layers)
        self.return_intermediate = return_intermediate
        self.embed_dims = dims = layers[0].embed_dims
        scales = dict(cond_elewise=dims, cond_scalar=1)
        if query_scale_type not in scales:
            message = f'query_scale_type must be one of {", ".join(scales)}, got {query_scale_type!r}'
            raise InvalidValueError(message, key='query_scale_type')
        self.post_norm = build_post_norm(post_norm_cfg, dims)
        self.query_scale = MLP(dims, dims, scales[query_scale_type], 2)
        self.ref_point_head = MLP(2 * dims, dims, dims, 2)
        self.ref_anchor_head = MLP(dims, dims, 2, 2) if with_modulated_hw_attn else None

    def forward(self, query: Tensor, references: Tensor, memory: Cells, refine: Refine) -> Decoded:
        """Decode (B, Q, C) queries around `references` (B, Q, 4).

        Args:
            refine: from the index of a layer and its queries to the offsets (B, Q, 4) of the boxes, in logits.
        """

        def attend(index: int, query: Tensor, references: Tensor) -> Tensor:
            encoded = encode_references(references, self.embed_dims // 2)  # (B, Q, 2C), of y x w h
            spatial = encoded[..., : self.embed_dims]
            if index:
                spatial = spatial * self.query_scale(query)
            if self.ref_anchor_head is not None:
                ratios = self.ref_anchor_head(query).sigmoid() / references[..., 2:]  # (B, Q, 2) of w, h
                spatial = spatial * ratios.flip(-1).repeat_interleave(self.embed_dims // 2, dim=-1)
            out: Tensor = self.layers[index](query, self.ref_point_head(encoded), memory, spatial)
            return out

        decoded = decode_around(len(self.layers), query, references, attend, refine, look_twice=True)
        states: Tensor = self.post_norm(decoded.states)
        return decoded._replace(states=states).last_of(not self.return_intermediate)


class DeformableDecoder(BaseModule):
    """Deformable DETR's decoder (arXiv:2010.04159): queries look at a few places around their references.

    Args:
        num_layers: number of layers.
        layer_cfg: arguments of a `DecoderLayer`.
        post_norm_cfg: must be None.
        return_intermediate: as in `Decoder`.
    """

    def __init__(
        self,
        num_layers: int,
        layer_cfg: Cfg,
        post_norm_cfg: Cfg | None = None,
        return_intermediate: bool = True,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(init_cfg)
        self.layers = ModuleList(build_deformable_layers(num_layers, layer_cfg, post_norm_cfg))
        self.return_intermediate = return_intermediate

    def forward(
        self,
        query: Tensor,
        query_pos: Tensor,
        memory: Cells,
        references: Tensor,
        refine: Refine | None = None,
    ) -> Decoded:
        """Decode (B, Q, C) queries with positions of the same shape around `references` (B, Q, 2 or 4)."""

        def attend(index: int, query: Tensor, references: Tensor) -> Tensor:
            out: Tensor = self.layers[index](query, query_pos, memory, references)
            return out

        decoded = decode_around(len(self.layers), query, references, attend, refine)
        return decoded.last_of(not self.return_intermediate)


class RefiningDecoder(BaseModule):
    """DINO's decoder (arXiv:2203.03605): a deformable one whose queries are boxes, from which positions follow.

    Args:
        num_layers, layer_cfg, post_norm_cfg, return_intermediate: as in `DeformableDecoder`.
    """

    def __init__(
        self,
        num_layers: int,
        layer_cfg: Cfg,
        post_norm_cfg: Cfg | None = None,
        return_intermediate: bool = True,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(init_cfg)
        layers = build_deformable_layers(num_layers, layer_cfg, post_norm_cfg)
        self.layers = ModuleList(layers)
        self.return_intermediate = return_intermediate
        self.embed_dims = dims = layers[0].embed_dims
        self.ref_point_head = MLP(2 * dims, dims, dims, 2)
        self.norm = nn.LayerNorm(dims)

    def forward(self, query: Tensor, memory: Cells, references: Tensor, refine: Refine, look: Look) -> Decoded:
        """Decode (B, Q, C) queries around `references` (B, Q, 4).

        Args:
            refine: as in `AnchorDecoder`.
            look: which queries see each other in a layer, as `attn_mask` of `DecoderLayer`.
        """

        def attend(index: int, query: Tensor, references: Tensor) -> Tensor:
            on_level = memory.around(references).reference_points[:, :, 0]  # (B, Q, 4), in shares of the first level
            query_pos = self.ref_point_head(encode_references(on_level, self.embed_dims // 2))
            out: Tensor = self.layers[index](query, query_pos, memory, references, look(index, query, references))
            return out

        decoded = decode_around(len(self.layers), query, references, attend, refine, look_twice=True)
        states: Tensor = self.norm(decoded.states)
        return decoded._replace(states=states).last_of(not self.return_intermediate)


def build_post_norm(cfg: Cfg | None, embed_dims: int) -> nn.Module:
    return build_norm_layer(cfg, embed_dims)[1] if cfg else nn.Identity()


def build_deformable_layers(num_layers: int, layer_cfg: Cfg, post_norm_cfg: Cfg | None) -> list[DecoderLayer]:
    """Layers whose cross attention is deformable.

    Raises:
        InvalidValueError: if there is a `post_norm_cfg`, which these decoders don't have.
    """
    if post_norm_cfg is not None:
        raise InvalidValueError('post_norm_cfg of a deformable decoder must be None', key='post_norm_cfg')
    return [DecoderLayer(**layer_cfg, cross_attention=MultiScaleDeformableAttention) for _ in range(num_layers)]
