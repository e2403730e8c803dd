"""SimOTA: assignment of the predictions that fit best, with a number of positives for each ground truth."""

from __future__ import annotations

import torch
from torch import Tensor

from mmkit.bbox.assigners.base import NO_INFO, BaseAssigner, cheapest_predictions, required
from mmkit.bbox.boxes import bbox_centers
from mmkit.bbox.iou import bbox_overlaps
from mmkit.registry import BBOX_ASSIGNERS
from mmkit.structures import Assignment, Instances, PriorInfo

_FAR = 100000.0
"""Cost of a prior outside the central region of the object: greater than any other."""


@BBOX_ASSIGNERS.register_module()
class SimOTAAssigner(BaseAssigner):
    """Assignment by the cost of the current predictions (YOLOX, arXiv:2107.08430).

    Args:
        center_radius: half the side of the central region of an object, in strides.
        candidate_topk: the number of positives of a ground truth is the sum of this many greatest IoUs.
        iou_weight: factor on the cost of the boxes.
        cls_weight: factor on the cost of the classes.
    """

    needs = frozenset({'points', 'scores'})

    def __init__(
        self,
        center_radius: float = 2.5,
        candidate_topk: int = 10,
        iou_weight: float = 3.0,
        cls_weight: float = 1.0,
    ) -> None:
        self.center_radius = center_radius
        self.candidate_topk = candidate_topk
        self.iou_weight = iou_weight
        self.cls_weight = cls_weight

    @torch.no_grad()
    def assign(
        self, bboxes: Tensor, gts: Instances, ignored: Tensor | None = None, info: PriorInfo = NO_INFO
    ) -> Assignment:
        """Assign predictions to `gts`, which must have labels; `max_overlaps` is the IoU of those assigned.

        Args:
            bboxes: (N, 4) predicted boxes xyxy, in pixels.
            gts: the ground truth.
            ignored: has no effect in YOLOX.
            info: `points` and `scores`, the latter of class and objectness together.
        """
        scores, points = required(info.scores, 'scores'), required(info.points, 'points')
        if not len(gts) or not len(bboxes):
            return Assignment.all_background(bboxes, gts)
        assert gts.labels is not None
        in_box, in_center = self._inside(points, gts.bboxes)  # (N, K) each
        valid = (in_box.any(1) | in_center.any(1)).nonzero(as_tuple=True)[0]  # (V,)
        assignment = Assignment.all_background(bboxes, gts)
        if not len(valid):
            return assignment
        ious = bbox_overlaps(bboxes[valid], gts.bboxes)  # (V, K)
        cost = self.cls_weight * _class_cost(scores[valid], gts.labels)
        cost = cost + self.iou_weight * -(ious + 1e-7).log()
        cost = cost + _FAR * ~(in_box & in_center)[valid]
        matching = cheapest_predictions(cost, ious, self.candidate_topk)  # (V, K) bool, at most one a row
        matched = matching.any(1)
        gt_inds = assignment.gt_inds
        gt_inds[valid[matched]] = matching[matched].int().argmax(1)
        max_overlaps = torch.full_like(assignment.max_overlaps, -_FAR)
        max_overlaps[valid[matched]] = (ious * matching).sum(1)[matched].to(max_overlaps)
        return Assignment.from_gt_inds(gt_inds, max_overlaps, gts)

    def _inside(self, points: Tensor, gt_bboxes: Tensor) -> tuple[Tensor, Tensor]:
        """(N, K) bool each: points inside a ground truth, and inside its central region."""
        xy, stride = points[:, None, :2], points[:, None, 2:]
        in_box = _between(xy, gt_bboxes[:, :2], gt_bboxes[:, 2:])
        centers = bbox_centers(gt_bboxes)
        reach = self.center_radius * stride
        return in_box, _between(xy, centers - reach, centers + reach)


def _between(points: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return torch.cat([points - low, high - points], dim=-1).amin(-1) > 0


def _class_cost(scores: Tensor, labels: Tensor) -> Tensor:
    """(V, K) binary cross entropy of the square roots of scores (V, C) with the classes of the ground truths."""
    probs = scores.float().sqrt()
    positive, negative = -probs.log().clamp(min=-100), -(1 - probs).log().clamp(min=-100)
    # All classes as negatives, then exchange the one that is positive.
    return negative.sum(1, keepdim=True) + (positive - negative)[:, labels]
