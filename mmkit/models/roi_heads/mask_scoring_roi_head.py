"""The second stage of Mask Scoring R-CNN, arXiv:1903.00241."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import Unpack

from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.models.mask_heads import MaskIoUHead
from mmkit.models.roi_heads.region_sampling import positive_labels
from mmkit.models.roi_heads.roi_settings import RoITrainSettings
from mmkit.models.roi_heads.standard_roi_head import StandardRoIHead, StandardRoIHeadArgs
from mmkit.protocols import MaskHead
from mmkit.registry import HEADS, Cfg
from mmkit.structures import Batch, SamplingResult


@dataclass(frozen=True)
class MaskScoringTrainSettings(RoITrainSettings):
    """Training targets of the regions.

    Attributes:
        mask_thr_binary: probability from which a pixel belongs to a mask whose IoU is a target.

    Others as in `RoITrainSettings`.
    """

    mask_thr_binary: float = 0.5


@HEADS.register_module()
class MaskScoringRoIHead(StandardRoIHead):
    """A `StandardRoIHead` whose scores are multiplied by the predicted IoU of the mask.

    Args:
        mask_iou_head: config of the head that predicts it.

    Others as in `StandardRoIHead`; `mask_head` is required.
    """

    train_settings = MaskScoringTrainSettings

    def __init__(self, mask_iou_head: Cfg, **kwargs: Unpack[StandardRoIHeadArgs]) -> None:
        super().__init__(**kwargs)
        if self.mask_head is None:
            raise InvalidValueError('MaskScoringRoIHead needs a mask_head', key='mask_head')
        scoring = HEADS.build(mask_iou_head)
        if not isinstance(scoring, MaskIoUHead):
            raise InvalidTypeError(f'mask_iou_head is a MaskIoUHead, got {type(scoring).__name__}', key='mask_iou_head')
        self.mask_iou_head = scoring

    def _mask_loss(
        self,
        head: MaskHead,
        feats: Sequence[Tensor],
        region_feats: Tensor,
        samples: Sequence[SamplingResult],
        batch: Batch,
    ) -> dict[str, Tensor]:
        settings = self.train_cfg
        assert isinstance(settings, MaskScoringTrainSettings) and batch.gts is not None
        pooled = self._positive_feats(feats, region_feats, samples)
        logits, labels = head(pooled), positive_labels(samples)
        targets = head.targets(samples, batch.gts, settings.mask_size, settings.soft_mask_target)
        masks = logits[torch.arange(len(labels), device=labels.device), labels]  # (P, h, w)
        ious = self.mask_iou_head.targets(samples, batch.gts, masks, targets, settings.mask_thr_binary)
        losses = self.mask_iou_head.loss(self.mask_iou_head(pooled, masks), ious, labels)
        return head.loss(logits, targets, labels) | losses

    def _mask_quality(self, feats: Sequence[Tensor], rois: Tensor, stages: Sequence[Tensor], labels: Tensor) -> Tensor:
        rows = torch.arange(len(labels), device=labels.device)
        quality: Tensor = self.mask_iou_head(self._mask_feats(feats, rois), stages[0][rows, labels])[rows, labels]
        return quality
