"""DDQ's head on DETR, arXiv:2303.12776."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from typing_extensions import Unpack

from mmkit.bbox.assigners import TopkHungarianAssigner
from mmkit.bbox.boxes import cxcywh_to_xyxy
from mmkit.models.dense_heads.anchor.task_alignment import normalized_alignment
from mmkit.models.dense_heads.query.deformable_detr_head import (
    DeformableDETRHead,
    build_branches,
    predict_layers,
    reset_branches,
)
from mmkit.models.dense_heads.query.outputs import Decoded, QueryOuts
from mmkit.models.dense_heads.query.query_head import QueryHeadArgs, image_sizes
from mmkit.models.losses import GIoULoss, QualityFocalLoss
from mmkit.models.settings import required
from mmkit.registry import HEADS, Cfg
from mmkit.structures import Batch, ImageMeta, Instances, PriorInfo
from mmkit.utils.dist import reduce_mean


class DenseTargets(NamedTuple):
    """Labels (D,), background is num_classes, qualities (D,) in 0..1, and boxes (P, 4) xyxy in pixels of positives."""

    labels: Tensor
    quality: Tensor
    bboxes: Tensor


@HEADS.register_module()
class DDQDETRHead(DeformableDETRHead):
    """DINO's head for distinct queries, with branches of their own for dense queries, of which objects have several.

    The last two class and box branches are those of the encoder: for distinct queries, and for dense ones.

    Args:
        aux_num_pos: dense queries that learn an object.
        num_layers: of the decoder.

    Others as in `DeformableDETRHead`.
    """

    def __init__(
        self,
        num_classes: int,
        aux_num_pos: int = 4,
        num_layers: int = 6,
        num_reg_fcs: int = 2,
        embed_dims: int = 256,
        loss_cls: Cfg = dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        **kwargs: Unpack[QueryHeadArgs],
    ) -> None:
        super().__init__(
            num_classes,
            with_box_refine=True,
            as_two_stage=True,
            num_reg_fcs=num_reg_fcs,
            loss_cls=loss_cls,
            embed_dims=embed_dims,
            num_layers=num_layers + 1,
            proposes_classes=True,
            **kwargs,
        )
        self.aux_cls_branches, self.aux_reg_branches = build_branches(
            embed_dims, self.cls_out_channels, num_reg_fcs, count=num_layers, shared=False
        )
        self.aux_assigner = TopkHungarianAssigner(topk=aux_num_pos)
        self.aux_loss_cls = QualityFocalLoss(activated=True)
        self.aux_loss_bbox = GIoULoss(loss_weight=2.0)

    def init_weights(self) -> None:
        super().init_weights()
        reset_branches(self.aux_cls_branches if self.use_sigmoid_cls else (), self.aux_reg_branches)

    def branches(self, decoded: Decoded) -> QueryOuts:
        if decoded.dense is None:
            return super().branches(decoded)._replace(counted=decoded.counted)
        num_others = decoded.states.shape[2] - decoded.dense.bboxes.shape[1]
        outs = super().branches(decoded.part(slice(num_others)))
        own = decoded.part(slice(num_others, None))
        cls_scores, bbox_preds = predict_layers(own, self.aux_cls_branches, self.aux_reg_branches)
        dense = (
            torch.cat([cls_scores, decoded.dense.cls_scores[None]]),
            torch.cat([bbox_preds, decoded.dense.bboxes[None]]),
        )
        return outs._replace(counted=decoded.counted, dense=dense)

    def loss(self, outs: QueryOuts, batch: Batch) -> dict[str, Tensor]:
        """As `DeformableDETRHead.loss`, with those of dense queries under `{layer}_aux_` and `aux_enc_`."""
        losses = super().loss(outs, batch)
        if outs.dense is not None:
            prefixes = [*(f'{i}_aux_' for i in range(len(self.aux_cls_branches))), 'aux_enc_']
            for prefix, cls_scores, bbox_preds in zip(prefixes, *outs.dense, strict=True):
                dense = self.dense_losses(cls_scores.float().sigmoid(), bbox_preds.float(), batch)
                losses |= {prefix + name: loss for name, loss in dense.items()}
        return losses

    def matched_losses(
        self, outs: QueryOuts, gts: Sequence[Instances], metas: Sequence[ImageMeta]
    ) -> list[dict[str, Tensor]]:
        if outs.counted is None:
            return super().matched_losses(outs, gts, metas)
        losses = []
        for layer in zip(outs.cls_scores.float(), outs.bbox_preds.float(), outs.counted, strict=True):
            cls_scores, bbox_preds, counted = (each[None] for each in layer)
            matched = self._match(cls_scores, bbox_preds, counted, gts, metas)
            targets = self.matched_targets(matched, gts, image_sizes(metas, bbox_preds))
            losses += self.layer_losses(cls_scores, bbox_preds, targets._replace(counted=counted), metas)
        return losses

    def _match(
        self,
        cls_scores: Tensor,
        bbox_preds: Tensor,
        counted: Tensor,
        gts: Sequence[Instances],
        metas: Sequence[ImageMeta],
    ) -> Tensor:
        """(1, B, Q) index of the object of each query of one layer, -1: none; only those that count are matched."""
        assigner = required(self.train_cfg, 'train_cfg', self).assigner
        matched = torch.full_like(counted, -1, dtype=torch.long)
        for i, (mask, image_gts, meta) in enumerate(zip(counted[0], gts, metas, strict=True)):
            part = slice(i, i + 1)
            matched[:, i, mask] = assigner.match_batch(
                cls_scores[:, part, mask], bbox_preds[:, part, mask], [image_gts], [meta.img_shape]
            )[:, 0]
        return matched

    def dense_losses(self, scores: Tensor, bbox_preds: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Losses of one layer of dense queries, whose targets are as good as their scores and boxes agree (TOOD).

        Args:
            scores: (B, D, C) probabilities.
            bbox_preds: (B, D, 4) normalised cx cy w h.
        """
        assert batch.gts is not None
        bboxes = cxcywh_to_xyxy(bbox_preds) * image_sizes(batch.metas, bbox_preds)[:, None]  # (B, D, 4) in pixels
        targets = [
            self._dense_targets(image_scores, image_bboxes, gts, meta.img_shape)
            for image_scores, image_bboxes, gts, meta in zip(scores, bboxes, batch.gts, batch.metas, strict=True)
        ]
        labels = torch.cat([each.labels for each in targets])  # (B*D,)
        quality = torch.cat([each.quality for each in targets])  # (B*D,)
        positive = labels < self.num_classes
        avg_factor = reduce_mean(quality.sum()).clamp(min=1)
        return dict(
            aux_loss_cls=self.aux_loss_cls(scores.flatten(0, 1), (labels, quality), avg_factor=avg_factor),
            aux_loss_bbox=self.aux_loss_bbox(
                bboxes.flatten(0, 1)[positive],
                torch.cat([each.bboxes for each in targets]),
                weight=quality[positive],
                avg_factor=avg_factor,
            ),
        )

    @torch.no_grad()
    def _dense_targets(self, scores: Tensor, bboxes: Tensor, gts: Instances, img_shape: Sequence[int]) -> DenseTargets:
        """Targets of one image."""
        info = PriorInfo(scores=scores, bbox_preds=bboxes, img_shape=img_shape)
        assignment = self.aux_assigner.assign(bboxes, gts, info=info)
        assert assignment.labels is not None
        positive = assignment.gt_inds >= 0
        inds = assignment.gt_inds[positive]
        quality = torch.zeros_like(assignment.alignment)
        quality[positive] = normalized_alignment(
            assignment.alignment[positive], assignment.max_overlaps[positive], inds, num_gts=len(gts)
        )
        labels = torch.where(positive, assignment.labels, self.num_classes)
        return DenseTargets(labels, quality, gts.bboxes[inds])
