"""Priors whose predictions are good at both tasks, classification and localisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmkit.bbox.assigners.assignment import Assignment, all_background
from mmkit.bbox.iou import BboxOverlaps2D, build_iou_calculator
from mmkit.registry import BBOX_ASSIGNERS
from mmkit.structures import Instances


@dataclass
class AlignedAssignment(Assignment):
    """An assignment that knows how good it is.

    Attributes:
        alignment: (N,) score ** alpha * IoU ** beta of positives, 0 elsewhere.
    """

    alignment: Tensor


@BBOX_ASSIGNERS.register_module()
class TaskAlignedAssigner:
    """Assignment by alignment (TOOD, arXiv:2108.07755).

    Args:
        topk: candidates of a ground truth; of those, with their centre inside it, are positive.
        iou_calculator: of `IOU_CALCULATORS`; None: `BboxOverlaps2D`.
    """

    def __init__(self, topk: int, iou_calculator: Mapping[str, Any] | BboxOverlaps2D | None = None) -> None:
        if topk < 1:
            raise ValueError(f'topk of TaskAlignedAssigner must be at least 1, got {topk}')
        self.topk = topk
        self.iou_calculator = build_iou_calculator(iou_calculator)

    @torch.no_grad()
    def assign(
        self,
        bboxes: Tensor,
        gts: Instances,
        ignored: Tensor | None = None,
        *,
        scores: Tensor,
        bbox_preds: Tensor,
        alpha: float = 1,
        beta: float = 6,
    ) -> AlignedAssignment:
        """Assign `bboxes` (N, 4) to `gts`, which must have labels.

        Args:
            bboxes: (N, 4) priors xyxy.
            gts: the ground truth.
            ignored: plays no part.
            scores: (N, C) probabilities.
            bbox_preds: (N, 4) predicted boxes xyxy.
            alpha: power of the score.
            beta: power of the IoU.
        """
        found = all_background(bboxes, gts)
        alignment = torch.zeros_like(found.max_overlaps)
        if not len(gts) or not len(bboxes):
            return AlignedAssignment(found.gt_inds, found.max_overlaps, found.labels, len(gts), alignment)
        assert gts.labels is not None
        overlaps = self.iou_calculator(bbox_preds, gts.bboxes)  # (N, K)
        metrics = scores[:, gts.labels] ** alpha * overlaps**beta
        candidates = metrics.topk(min(self.topk, len(bboxes)), dim=0).indices  # (M, K)
        centers = ((bboxes[:, :2] + bboxes[:, 2:4]) / 2)[candidates]  # (M, K, 2)
        margins = torch.cat([centers - gts.bboxes[:, :2], gts.bboxes[:, 2:] - centers], dim=-1).amin(-1)
        positive = (metrics.gather(0, candidates) > 0) & (margins > 0.01)
        wanted = torch.full_like(overlaps, -float('inf'))
        wanted.scatter_(0, candidates, torch.where(positive, overlaps.gather(0, candidates), -float('inf')))
        best, best_gt = wanted.max(dim=1)
        taken = best != -float('inf')
        found.gt_inds[taken] = best_gt[taken]
        alignment[taken] = metrics[taken, best_gt[taken]].to(alignment)
        found = Assignment.from_gt_inds(found.gt_inds, best, gts)
        return AlignedAssignment(found.gt_inds, found.max_overlaps, found.labels, len(gts), alignment)
