"""The second stage with prime sample attention, arXiv:1904.04821."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from typing_extensions import Unpack

from mmkit.bbox import bbox_overlaps
from mmkit.errors import InvalidTypeError
from mmkit.models.losses.prime_samples import RankWeights, carl_from, carl_loss, isr_from, isr_weights
from mmkit.models.roi_heads.bbox_heads import BBoxHead
from mmkit.models.roi_heads.roi_settings import RoITrainSettings
from mmkit.models.roi_heads.standard_roi_head import StandardRoIHead, StandardRoIHeadArgs
from mmkit.protocols import RoITargets
from mmkit.registry import HEADS, Cfg
from mmkit.structures import SamplingResult


@dataclass(frozen=True)
class PISATrainSettings(RoITrainSettings):
    """Training targets of the regions.

    Attributes:
        isr: weights of positives in the classification loss, by the rank of their IoU; None: no such weights.
        carl: weights of a further box loss, by the probability of the class; None: no such loss.

    Others as in `RoITrainSettings`.
    """

    isr: RankWeights | None = None
    carl: RankWeights | None = None

    @classmethod
    def from_cfg(cls, cfg: Cfg) -> RoITrainSettings:
        settings = super().from_cfg(cfg)
        assert isinstance(settings, cls)
        return replace(settings, isr=isr_from(cfg), carl=carl_from(cfg))


@HEADS.register_module()
class PISARoIHead(StandardRoIHead):
    """A `StandardRoIHead` that attends to prime samples.

    Args:
        train_cfg: see `PISATrainSettings`; its sampler may be a `ScoreHLRSampler`.

    Others as in `StandardRoIHead`.
    """

    train_settings = PISATrainSettings
    train_cfg: PISATrainSettings | None

    def __init__(self, **kwargs: Unpack[StandardRoIHeadArgs]) -> None:
        super().__init__(**kwargs)
        if not isinstance(self.bbox_head, BBoxHead):
            raise InvalidTypeError(f'bbox_head is a BBoxHead, got {type(self.bbox_head).__name__}', key='bbox_head')

    def _box_losses(
        self,
        cls_score: Tensor | None,
        bbox_pred: Tensor | None,
        rois: Tensor,
        targets: RoITargets,
        samples: Sequence[SamplingResult],
    ) -> dict[str, Tensor]:
        settings, head = self.train_cfg, self.bbox_head
        assert settings is not None and isinstance(head, BBoxHead) and cls_score is not None and bbox_pred is not None
        positive = targets.labels < head.num_classes  # (R,) with P positives
        labels, scores = targets.labels[positive], cls_score.float()[positive]
        deltas = head.deltas_of(bbox_pred.float()[positive], labels)  # (P, 4)
        boxes = head.bbox_coder.decode(rois[positive, 1:], deltas)
        if settings.isr is not None:
            with torch.no_grad():
                weights = isr_weights(
                    settings.isr,
                    ious=bbox_overlaps(boxes, torch.cat([each.pos_gt_bboxes for each in samples]), is_aligned=True),
                    labels=labels,
                    objects=_objects(samples),
                    weights=targets.label_weights[positive],
                    losses=head.unreduced_losses(scores, labels),
                )
            targets = replace(targets, label_weights=targets.label_weights.masked_scatter(positive, weights))
        losses = head.loss(cls_score, bbox_pred, rois, targets)
        if settings.carl is not None:
            preds = boxes if head.reg_decoded_bbox else deltas
            box_losses = head.loss_bbox(preds, targets.bbox_targets[positive], reduction_override='none')
            rows = torch.arange(len(labels), device=labels.device)
            of_class = head.probabilities(scores)[rows, labels]
            losses['loss_carl'] = carl_loss(settings.carl, of_class, box_losses) / max(len(rois), 1)
        return losses


def _objects(samples: Sequence[SamplingResult]) -> Tensor:
    """(P,) number of the object of each positive, different for different images."""
    counts = [int(each.pos_gt_inds.max()) + 1 if len(each.pos_gt_inds) else 0 for each in samples]
    first = [sum(counts[:i]) for i in range(len(counts))]
    return torch.cat([each.pos_gt_inds + start for each, start in zip(samples, first, strict=True)])
