"""Assignment of priors whose predictions are good at both tasks, classification and localisation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mmkit.bbox.assigners.base import NO_INFO, BaseAssigner, inside, required, strongest_claims
from mmkit.bbox.boxes import bbox_centers
from mmkit.bbox.iou import build_iou_calculator
from mmkit.errors import InvalidValueError
from mmkit.protocols import IoUCalculator
from mmkit.registry import BBOX_ASSIGNERS, Cfg
from mmkit.structures import Assignment, Instances, PriorInfo


@dataclass
class AlignedAssignment(Assignment):
    """An assignment with the alignment of the two tasks.

    Attributes:
        alignment: (N,) score ** alpha * IoU ** beta of positives, 0 elsewhere.
    """

    alignment: Tensor


@BBOX_ASSIGNERS.register_module()
class TaskAlignedAssigner(BaseAssigner):
    """Assignment by alignment (TOOD, arXiv:2108.07755).

    Args:
        topk: candidates of a ground truth; those with their centre inside it are positive.
        iou_calculator: of `IOU_CALCULATORS`; None: `BboxOverlaps2D`.
    """

    needs = frozenset({'scores', 'bbox_preds'})

    def __init__(self, topk: int, iou_calculator: Cfg | IoUCalculator | None = None) -> None:
        if topk < 1:
            raise InvalidValueError(f'topk of TaskAlignedAssigner must be at least 1, got {topk}', key='topk')
        self.topk = topk
        self.iou_calculator = build_iou_calculator(iou_calculator)

    @torch.no_grad()
    def assign(
        self,
        bboxes: Tensor,
        gts: Instances,
        ignored: Tensor | None = None,
        info: PriorInfo = NO_INFO,
        alpha: float = 1,
        beta: float = 6,
    ) -> AlignedAssignment:
        """Assign `bboxes` (N, 4) to `gts`, which must have labels.

        Args:
            bboxes: (N, 4) priors xyxy, in pixels.
            gts: the ground truth.
            ignored: has no effect.
            info: `scores` and `bbox_preds`.
            alpha: power of the score.
            beta: power of the IoU.
        """
        assignment = Assignment.all_background(bboxes, gts)
        alignment = torch.zeros_like(assignment.max_overlaps)
        if not len(gts) or not len(bboxes):
            return AlignedAssignment(**vars(assignment), alignment=alignment)
        assert gts.labels is not None
        scores, bbox_preds = required(info.scores, 'scores'), required(info.bbox_preds, 'bbox_preds')
        overlaps = self.iou_calculator(bbox_preds, gts.bboxes)  # (N, K)
        metrics = scores[:, gts.labels] ** alpha * overlaps**beta
        candidates = metrics.topk(min(self.topk, len(bboxes)), dim=0).indices  # (M, K)
        centers = bbox_centers(bboxes)[candidates]  # (M, K, 2)
        positive = (metrics.gather(0, candidates) > 0) & inside(centers, gts.bboxes)
        best, best_gt = strongest_claims(candidates, positive, overlaps)
        taken = best != -float('inf')
        assignment.gt_inds[taken] = best_gt[taken]
        alignment[taken] = metrics[taken, best_gt[taken]].to(alignment)
        assignment = Assignment.from_gt_inds(assignment.gt_inds, best, gts)
        return AlignedAssignment(**vars(assignment), alignment=alignment)
