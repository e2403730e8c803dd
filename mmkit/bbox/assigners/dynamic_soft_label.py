"""RTMDet's assignment: SimOTA with costs of soft labels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from mmkit.bbox.assigners.base import NO_INFO, BaseAssigner, cheapest_predictions, required
from mmkit.bbox.boxes import bbox2distance, bbox_centers
from mmkit.bbox.iou import build_iou_calculator
from mmkit.protocols import IoUCalculator
from mmkit.registry import BBOX_ASSIGNERS, Cfg
from mmkit.structures import Assignment, Instances, PriorInfo


@BBOX_ASSIGNERS.register_module()
class DynamicSoftLabelAssigner(BaseAssigner):
    """Assignment by the cost of the current predictions, whose targets are the IoUs (RTMDet, arXiv:2212.07784).

    Args:
        soft_center_radius: strides from the centre of an object to the points at which the cost of a distance is 1; it
            is ten times as high one stride further.
        topk: the number of positives of a ground truth is the sum of this many greatest IoUs.
        iou_weight: factor on the cost of the boxes.
        iou_calculator: of `IOU_CALCULATORS`; None: `BboxOverlaps2D`.
    """

    needs = frozenset({'points', 'cls_scores'})

    def __init__(
        self,
        soft_center_radius: float = 3.0,
        topk: int = 13,
        iou_weight: float = 3.0,
        iou_calculator: Cfg | IoUCalculator | None = None,
    ) -> None:
        self.soft_center_radius = soft_center_radius
        self.topk = topk
        self.iou_weight = iou_weight
        self.iou_calculator = build_iou_calculator(iou_calculator)

    @torch.no_grad()
    def assign(
        self, bboxes: Tensor, gts: Instances, ignored: Tensor | None = None, info: PriorInfo = NO_INFO
    ) -> Assignment:
        """Assign predictions to `gts`, which must have labels; `max_overlaps` is the IoU of those assigned, else 0.

        Args:
            bboxes: (N, 4) predicted boxes xyxy, in pixels.
            gts: the ground truth; only points inside of it are positive.
            ignored: has no effect in RTMDet.
            info: `points` and `cls_scores`, the latter as logits.
        """
        logits, points = required(info.cls_scores, 'cls_scores'), required(info.points, 'points')
        assignment = Assignment.all_background(bboxes, gts)
        if not len(gts) or not len(bboxes):
            return assignment
        assert gts.labels is not None
        in_box = bbox2distance(points[:, None, :2], gts.bboxes).amin(-1) > 0  # (N, K)
        valid = in_box.any(1).nonzero(as_tuple=True)[0]  # (V,)
        if not len(valid):
            return assignment
        ious = self.iou_calculator(bboxes[valid], gts.bboxes)  # (V, K)
        cost = _class_cost(logits[valid], gts.labels, ious)
        cost = cost + self.iou_weight * -(ious + 1e-7).log()
        cost = cost + 10 ** (_center_distances(points[valid], gts.bboxes) - self.soft_center_radius)
        matching = cheapest_predictions(cost, ious, self.topk)  # (V, K), at most one a row
        matched = matching.any(1)
        assignment.gt_inds[valid[matched]] = matching[matched].int().argmax(1)
        assignment.max_overlaps[valid[matched]] = (ious * matching).sum(1)[matched].to(assignment.max_overlaps)
        return Assignment.from_gt_inds(assignment.gt_inds, assignment.max_overlaps, gts)


def _center_distances(points: Tensor, gt_bboxes: Tensor) -> Tensor:
    """(V, K) strides from points (V, 4) x, y, stride_w, stride_h to the centres of boxes (K, 4)."""
    offsets = (points[:, None, :2] - bbox_centers(gt_bboxes)) / points[:, None, 2:3]  # (V, K, 2)
    return offsets.square().sum(-1).sqrt()


def _class_cost(logits: Tensor, labels: Tensor, ious: Tensor) -> Tensor:
    """(V, K) quality focal loss of logits (V, C), if the target is the IoU (V, K) at the label (K,) and 0 elsewhere."""
    probs = logits.sigmoid()
    negative = softplus(logits) * probs**2  # (V, C)
    own_logits, own_probs = logits[:, labels], probs[:, labels]  # (V, K)
    positive = binary_cross_entropy_with_logits(own_logits, ious, reduction='none') * (ious - own_probs) ** 2
    # All classes as negatives, then exchange the one that is positive.
    return negative.sum(1, keepdim=True) - negative[:, labels] + positive
