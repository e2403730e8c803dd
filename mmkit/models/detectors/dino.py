"""DINO, arXiv:2203.03605."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.layers import MultiScaleDeformableAttention, xavier_init
from mmkit.models.dense_heads.query.cells import best_cells, flatten_levels, pick, propose
from mmkit.models.dense_heads.query.decoders import RefiningDecoder
from mmkit.models.dense_heads.query.deformable_detr_head import DeformableDETRHead
from mmkit.models.dense_heads.query.denoising import CdnQueryGenerator
from mmkit.models.dense_heads.query.layers import Encoder
from mmkit.models.dense_heads.query.outputs import Decoded, Proposals
from mmkit.models.dense_heads.query.query_head import build_encoding
from mmkit.models.dense_heads.query.references import refine_with
from mmkit.models.detectors.query import QueryDetector, QueryDetectorArgs, build_part, init_transformer
from mmkit.registry import DETECTORS, Cfg
from mmkit.structures import Batch


@DETECTORS.register_module()
class DINO(QueryDetector):
    """Learned contents at the encoder's best boxes, which each layer refines, trained with denoising queries, too.

    Args:
        encoder, decoder: arguments of the two parts of the transformer.
        positional_encoding: of cells; by default a `SinePositionalEncoding`.
        num_queries: Q.
        num_feature_levels: L.
        with_box_refine, as_two_stage: must be True.
        dn_cfg: arguments of a `CdnQueryGenerator`.

    Others as in `QueryDetector`.
    """

    def __init__(
        self,
        backbone: Cfg,
        bbox_head: Cfg,
        encoder: Cfg,
        decoder: Cfg,
        positional_encoding: Cfg = dict(num_feats=128, normalize=True),
        num_queries: int = 900,
        num_feature_levels: int = 4,
        with_box_refine: bool = True,
        as_two_stage: bool = True,
        dn_cfg: Cfg = dict(),
        **kwargs: Unpack[QueryDetectorArgs],
    ) -> None:
        if not (with_box_refine and as_two_stage):
            raise InvalidValueError('DINO has two stages and refines boxes', key='as_two_stage')
        encodes: Encoder = build_part(encoder, Encoder, attention=MultiScaleDeformableAttention)
        decodes: RefiningDecoder = build_part(decoder, RefiningDecoder)
        arguments = dict(num_layers=len(decodes.layers), with_box_refine=True, as_two_stage=True)
        super().__init__(backbone, bbox_head, encoder=encodes, head_arguments=arguments, **kwargs)
        if not isinstance(self.bbox_head, DeformableDETRHead):
            raise InvalidTypeError(f'the head must be a DINOHead, got {bbox_head}', key='bbox_head')
        self.decoder = decodes
        dims = encodes.embed_dims
        self.positional_encoding = build_encoding(positional_encoding, dims)
        self.level_embed = nn.Parameter(torch.zeros(num_feature_levels, dims))
        self.memory_trans_fc = nn.Linear(dims, dims)
        self.memory_trans_norm = nn.LayerNorm(dims)
        self.query_embedding = nn.Embedding(num_queries, dims)
        self.dn_query_generator = CdnQueryGenerator(self.bbox_head.num_classes, dims, **dn_cfg)

    def init_weights(self) -> None:
        super().init_weights()
        init_transformer(self.encoder, self.decoder)
        nn.init.normal_(self.level_embed)
        xavier_init(self.memory_trans_fc, distribution='uniform')

    def transform(self, feats: Sequence[Tensor], mask: Tensor, batch: Batch | None) -> Decoded:
        assert self.encoder is not None and isinstance(self.bbox_head, DeformableDETRHead)
        memory = self.encoder(flatten_levels(feats, mask, self.positional_encoding, self.level_embed))
        cls_branches, reg_branches = self.bbox_head.cls_branches, self.bbox_head.reg_branches
        (proposals,) = propose(memory, self._project_memory, cls_branches[-1:], reg_branches[-1:])
        best = best_cells(proposals.cls_scores.amax(-1), len(self.query_embedding.weight))
        proposals = Proposals(*(pick(each, best) for each in proposals))
        references = proposals.bboxes.detach()  # (B, Q, 4)
        query = self.query_embedding.weight[: references.shape[1]].expand(len(mask), -1, -1)
        denoising = attn_mask = None
        if batch is not None and batch.gts is not None:
            noisy = self.dn_query_generator(batch.gts, batch.metas)
            attn_mask = noisy.attn_mask(query.shape[1])
            query, references = torch.cat([noisy.query, query], dim=1), torch.cat([noisy.references, references], dim=1)
            denoising = noisy.targets
        decoded: Decoded = self.decoder(query, memory, references, refine_with(reg_branches), lambda *_: attn_mask)
        return decoded._replace(proposals=proposals, denoising=denoising)

    def _project_memory(self, memory: Tensor) -> Tensor:
        projected: Tensor = self.memory_trans_norm(self.memory_trans_fc(memory))
        return projected
