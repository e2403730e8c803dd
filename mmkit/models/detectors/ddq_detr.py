"""DDQ on DETR, arXiv:2303.12776."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.layers import MultiheadAttention, MultiScaleDeformableAttention, xavier_init
from mmkit.models.dense_heads.query.cells import Cells, best_cells, flatten_levels, pick, propose
from mmkit.models.dense_heads.query.ddq_detr_head import DDQDETRHead
from mmkit.models.dense_heads.query.decoders import RefiningDecoder
from mmkit.models.dense_heads.query.denoising import CdnQueryGenerator
from mmkit.models.dense_heads.query.distinct import DistinctQueries, distinct
from mmkit.models.dense_heads.query.layers import Encoder
from mmkit.models.dense_heads.query.outputs import Decoded, Proposals
from mmkit.models.dense_heads.query.query_head import build_encoding
from mmkit.models.detectors.query import QueryDetector, QueryDetectorArgs, build_part, init_transformer
from mmkit.ops.nms import check_nms
from mmkit.registry import DETECTORS, Cfg
from mmkit.structures import Batch


@DETECTORS.register_module()
class DDQDETR(QueryDetector):
    """DINO whose queries are distinct: NMS selects them from the encoder's detections and again behind each layer.

    In training there are denoising queries in front of them, and dense ones behind them, which NMS has not thinned.

    Args:
        encoder, decoder: arguments of the two parts of the transformer.
        positional_encoding: of cells; by default a `SinePositionalEncoding`.
        num_queries: Q.
        num_feature_levels: L.
        with_box_refine, as_two_stage: must be True.
        dn_cfg: arguments of a `CdnQueryGenerator`.
        dense_topk_ratio: dense queries for each of Q.
        dqs_cfg: the NMS.

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
        dense_topk_ratio: float = 1.5,
        dqs_cfg: Cfg = dict(type='nms', iou_threshold=0.8),
        **kwargs: Unpack[QueryDetectorArgs],
    ) -> None:
        if not (with_box_refine and as_two_stage):
            raise InvalidValueError('DDQ has two stages and refines boxes', key='as_two_stage')
        check_nms(dqs_cfg)
        encodes: Encoder = build_part(encoder, Encoder, attention=MultiScaleDeformableAttention)
        decodes: RefiningDecoder = build_part(decoder, RefiningDecoder)
        arguments = dict(num_layers=len(decodes.layers))
        super().__init__(backbone, bbox_head, encoder=encodes, head_arguments=arguments, **kwargs)
        if not isinstance(self.bbox_head, DDQDETRHead):
            raise InvalidTypeError(f'the head must be a DDQDETRHead, got {bbox_head}', key='bbox_head')
        self.decoder = decodes
        self.num_queries = num_queries
        self.num_dense = int(dense_topk_ratio * num_queries)
        self.dqs_cfg = dqs_cfg
        dims = encodes.embed_dims
        self.positional_encoding = build_encoding(positional_encoding, dims)
        self.level_embed = nn.Parameter(torch.zeros(num_feature_levels, dims))
        self.memory_trans_fc = nn.Linear(dims, dims)
        self.memory_trans_norm = nn.LayerNorm(dims)
        self.query_map = nn.Linear(dims, dims)
        self.dn_query_generator = CdnQueryGenerator(self.bbox_head.num_classes, dims, **dn_cfg)

    def init_weights(self) -> None:
        super().init_weights()
        init_transformer(self.encoder, self.decoder)
        nn.init.normal_(self.level_embed)
        xavier_init(self.memory_trans_fc, distribution='uniform')
        xavier_init(self.query_map, distribution='uniform')

    def transform(self, feats: Sequence[Tensor], mask: Tensor, batch: Batch | None) -> Decoded:
        assert self.encoder is not None and isinstance(self.bbox_head, DDQDETRHead)
        memory = self.encoder(flatten_levels(feats, mask, self.positional_encoding, self.level_embed))
        branches = self.bbox_head.cls_branches[-2:], self.bbox_head.reg_branches[-2:]
        if batch is None or batch.gts is None:
            (detected,) = propose(memory, self._project_memory, branches[0][:1], branches[1][:1])
            query, proposals = self._distinct_queries(memory, detected)
            attn_mask = query.new_zeros(query.shape[1], query.shape[1], dtype=torch.bool)
            decoded = self._decode(query, proposals.bboxes, memory, attn_mask, first=0, num_dense=0)
            return decoded._replace(proposals=proposals)
        detected, detected_densely = propose(memory, self._project_memory, *branches)
        query, proposals = self._distinct_queries(memory, detected)
        best = best_cells(detected_densely.cls_scores.amax(-1), self.num_dense)
        dense = Proposals(*(pick(each, best) for each in detected_densely))
        noisy = self.dn_query_generator(batch.gts, batch.metas)
        sees = torch.block_diag(~noisy.attn_mask(query.shape[1]), best.new_ones(best.shape[1], best.shape[1]).bool())
        decoded = self._decode(
            torch.cat([noisy.query, query, self._contents(memory, best)], dim=1),
            torch.cat([noisy.references, proposals.bboxes, dense.bboxes], dim=1),
            memory,
            attn_mask=~sees,
            first=noisy.query.shape[1],
            num_dense=best.shape[1],
        )
        return decoded._replace(proposals=proposals, denoising=noisy.targets, dense=dense)

    def _project_memory(self, memory: Tensor) -> Tensor:
        projected: Tensor = self.memory_trans_norm(self.memory_trans_fc(memory))
        return projected

    def _distinct_queries(self, memory: Cells, detected: Proposals) -> tuple[Tensor, Proposals]:
        """The distinct ones of detections, best first, and queries (B, Q, C) from their cells; empty ones fill up."""
        scores = detected.cls_scores.amax(-1).sigmoid()
        kept = distinct(scores, detected.bboxes, self.dqs_cfg)
        best = best_cells(torch.where(kept, scores, -1.0), self.num_queries)
        real = pick(kept[..., None], best)  # (B, Q, 1)
        boxes = torch.where(real, pick(detected.bboxes, best), 0.5)
        proposals = Proposals(pick(detected.cls_scores, best) * real, boxes)
        return self._contents(memory, best) * real, proposals

    def _contents(self, memory: Cells, inds: Tensor) -> Tensor:
        """(B, K, C) contents of queries that start from cells `inds` (B, K); what they learn, the encoder does not."""
        contents: Tensor = self.query_map(pick(memory.tokens.detach(), inds))
        return contents

    def _decode(
        self, query: Tensor, references: Tensor, memory: Cells, attn_mask: Tensor, first: int, num_dense: int
    ) -> Decoded:
        """Decode queries of which those from `first` to the last `num_dense` are kept distinct."""
        head, attention, end = self.bbox_head, self.decoder.layers[0].self_attn, query.shape[1] - num_dense
        assert isinstance(head, DDQDETRHead) and isinstance(attention, MultiheadAttention)

        def refine(index: int, states: Tensor) -> Tensor:
            offsets: Tensor = head.reg_branches[index](states[:, :end])
            return torch.cat([offsets, head.aux_reg_branches[index](states[:, end:])], dim=1) if num_dense else offsets

        look = DistinctQueries(attn_mask, slice(first, end), head.cls_branches, self.dqs_cfg, attention.num_heads)
        decoded: Decoded = self.decoder(query, memory, references.detach(), refine, look)
        return decoded._replace(counted=torch.stack(look.counted)[-len(decoded.states) :])
