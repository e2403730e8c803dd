"""Deformable DETR, arXiv:2010.04159."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from mmkit.layers import MultiScaleDeformableAttention, xavier_init
from mmkit.models.dense_heads.query.cells import best_cells, encode_boxes, flatten_levels, pick, propose
from mmkit.models.dense_heads.query.decoders import DeformableDecoder
from mmkit.models.dense_heads.query.deformable_detr_head import DeformableDETRHead
from mmkit.models.dense_heads.query.layers import Encoder
from mmkit.models.dense_heads.query.outputs import Decoded
from mmkit.models.dense_heads.query.query_head import build_encoding
from mmkit.models.dense_heads.query.references import refine_with
from mmkit.models.detectors.query import QueryDetector, QueryDetectorArgs, build_part, init_transformer, require_both
from mmkit.registry import DETECTORS, Cfg
from mmkit.structures import Batch


@DETECTORS.register_module()
class DeformableDETR(QueryDetector):
    """Deformable attention to several levels; queries are learned or, with two stages, the encoder's detections.

    Args:
        encoder, decoder: arguments of the two parts of the transformer. Without them the head holds a transformer, to
            which the five arguments below belong, too.
        positional_encoding: of cells; by default a `SinePositionalEncoding`.
        num_queries: Q.
        num_feature_levels: L.
        with_box_refine: each layer refines the boxes of the one before.
        as_two_stage: queries start from the encoder's own detections.

    Others as in `QueryDetector`.
    """

    def __init__(
        self,
        backbone: Cfg,
        bbox_head: Cfg,
        encoder: Cfg | None = None,
        decoder: Cfg | None = None,
        positional_encoding: Cfg = dict(num_feats=128, normalize=True),
        num_queries: int = 100,
        num_feature_levels: int = 4,
        with_box_refine: bool = False,
        as_two_stage: bool = False,
        **kwargs: Unpack[QueryDetectorArgs],
    ) -> None:
        require_both(encoder, decoder)
        encodes: Encoder | None = build_part(encoder, Encoder, attention=MultiScaleDeformableAttention)
        decodes: DeformableDecoder | None = build_part(decoder, DeformableDecoder)
        arguments = {}
        if decodes is not None:
            num_layers = len(decodes.layers)
            arguments = dict(num_layers=num_layers, with_box_refine=with_box_refine, as_two_stage=as_two_stage)
        super().__init__(backbone, bbox_head, encoder=encodes, head_arguments=arguments, **kwargs)
        self.decoder = decodes
        self.num_queries = num_queries
        self.with_box_refine = with_box_refine
        self.as_two_stage = as_two_stage
        if encodes is None:
            return
        dims = encodes.embed_dims
        self.positional_encoding = build_encoding(positional_encoding, dims)
        self.level_embed = nn.Parameter(torch.zeros(num_feature_levels, dims))
        if as_two_stage:
            self.memory_trans_fc = nn.Linear(dims, dims)
            self.memory_trans_norm = nn.LayerNorm(dims)
            self.pos_trans_fc = nn.Linear(dims * 2, dims * 2)
            self.pos_trans_norm = nn.LayerNorm(dims * 2)
        else:
            self.query_embedding = nn.Embedding(num_queries, dims * 2)
            self.reference_points_fc = nn.Linear(dims, 2)

    def init_weights(self) -> None:
        super().init_weights()
        if self.encoder is None:
            return
        init_transformer(self.encoder, self.decoder)
        nn.init.normal_(self.level_embed)
        for layer in (self.memory_trans_fc, self.pos_trans_fc) if self.as_two_stage else (self.reference_points_fc,):
            xavier_init(layer, distribution='uniform')

    def transform(self, feats: Sequence[Tensor], mask: Tensor, batch: Batch | None) -> Decoded:
        assert self.encoder is not None and self.decoder is not None and isinstance(self.bbox_head, DeformableDETRHead)
        memory = self.encoder(flatten_levels(feats, mask, self.positional_encoding, self.level_embed))
        cls_branches, reg_branches = self.bbox_head.cls_branches, self.bbox_head.reg_branches
        proposals = None
        if self.as_two_stage:
            (proposals,) = propose(memory, self._project_memory, cls_branches[-1:], reg_branches[-1:])
            references = pick(proposals.bboxes, best_cells(proposals.cls_scores[..., 0], self.num_queries)).detach()
            encoded = encode_boxes(references, self.encoder.embed_dims)
            query_pos, query = self.pos_trans_norm(self.pos_trans_fc(encoded)).chunk(2, dim=-1)
        else:
            query_pos, query = self.query_embedding.weight.expand(len(mask), -1, -1).chunk(2, dim=-1)  # (B, Q, C)
            references = self.reference_points_fc(query_pos).sigmoid()
        refine = refine_with(reg_branches) if self.with_box_refine else None
        decoded: Decoded = self.decoder(query, query_pos, memory, references, refine)
        return decoded._replace(proposals=proposals)

    def _project_memory(self, memory: Tensor) -> Tensor:
        projected: Tensor = self.memory_trans_norm(self.memory_trans_fc(memory))
        return projected
