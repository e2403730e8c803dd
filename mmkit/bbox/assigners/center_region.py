"""Assignment of priors in the middle of objects."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mmkit.bbox.assigners.base import NO_INFO, BaseAssigner
from mmkit.bbox.boxes import bbox_centers, scale_bboxes
from mmkit.bbox.iou import build_iou_calculator
from mmkit.protocols import IoUCalculator
from mmkit.registry import BBOX_ASSIGNERS, Cfg
from mmkit.structures import Assignment, Instances, PriorInfo
from mmkit.structures.assignment import BACKGROUND, IGNORED


@dataclass
class ShadowedAssignment(Assignment):
    """An assignment with classes that priors are not to be told off for.

    Attributes:
        shadowed: (S, 2) int64, a prior and a class that is neither positive nor negative there.
    """

    shadowed: Tensor


@BBOX_ASSIGNERS.register_module()
class CenterRegionAssigner(BaseAssigner):
    """Assignment to the inner part of objects, the smaller of two first (FSAF, arXiv:1903.00621).

    Args:
        pos_scale: a prior centred in an object is positive if it overlaps the middle with this part of its sides.
        neg_scale: priors that overlap that part, without being positive for the object, are no negatives of its class.
        min_pos_iof: an overlap counts that is above this part of the prior.
        ignore_gt_scale: priors centred in this part of an ignored region are ignored.
        foreground_dominate: a prior that is positive for one object and shadowed by another one of the same class
            is positive; otherwise background, and the class does not count there.
        iou_calculator: of `IOU_CALCULATORS`; None: `BboxOverlaps2D`.
    """

    def __init__(
        self,
        pos_scale: float,
        neg_scale: float,
        min_pos_iof: float = 0.01,
        ignore_gt_scale: float = 0.5,
        foreground_dominate: bool = False,
        iou_calculator: Cfg | IoUCalculator | None = None,
    ) -> None:
        self.pos_scale = pos_scale
        self.neg_scale = neg_scale
        self.min_pos_iof = min_pos_iof
        self.ignore_gt_scale = ignore_gt_scale
        self.foreground_dominate = foreground_dominate
        self.iou_calculator = build_iou_calculator(iou_calculator)

    def assign(
        self, bboxes: Tensor, gts: Instances, ignored: Tensor | None = None, info: PriorInfo = NO_INFO
    ) -> ShadowedAssignment:
        """Assign `bboxes` (N, 4) to `gts`, which must have labels."""
        assert gts.labels is not None
        assignment = Assignment.all_background(bboxes, gts)
        gt_inds, centers = assignment.gt_inds, bbox_centers(bboxes)
        shadowed = gt_inds.new_zeros(0, 2)
        if len(gts) and len(bboxes):
            core = self._overlap(bboxes, gts.bboxes, self.pos_scale) & _centred(centers, gts.bboxes)  # (N, K)
            shadow = self._overlap(bboxes, gts.bboxes, self.neg_scale) & ~core
            areas = (gts.bboxes[:, 2:] - gts.bboxes[:, :2]).prod(dim=1)
            smallest_first = (-areas).argsort().argsort()
            priority = torch.where(core, smallest_first, -1)
            matched = core.any(dim=1)
            gt_inds[matched] = priority[matched].argmax(dim=1)
            others = core & (torch.arange(len(gts), device=core.device) != gt_inds[:, None])
            shadowed = (shadow | others).nonzero()  # (S, 2) prior and object
            shadowed = torch.stack([shadowed[:, 0], gts.labels[shadowed[:, 1]]], dim=1)
        if ignored is not None and len(ignored):
            gt_inds[_centred(centers, scale_bboxes(ignored, self.ignore_gt_scale)).any(dim=1)] = IGNORED
        assignment = Assignment.from_gt_inds(gt_inds, assignment.max_overlaps, gts)
        return self._settle(assignment, shadowed, gts)

    def _settle(self, assignment: Assignment, shadowed: Tensor, gts: Instances) -> ShadowedAssignment:
        """Priors are not both positive and shadowed for one class."""
        assert assignment.labels is not None
        both = assignment.labels[shadowed[:, 0]] == shadowed[:, 1]
        if self.foreground_dominate:
            return ShadowedAssignment(**vars(assignment), shadowed=shadowed[~both])
        gt_inds = assignment.gt_inds.clone()
        gt_inds[shadowed[both, 0]] = BACKGROUND
        assignment = Assignment.from_gt_inds(gt_inds, assignment.max_overlaps, gts)
        return ShadowedAssignment(**vars(assignment), shadowed=shadowed)

    def _overlap(self, bboxes: Tensor, gt_bboxes: Tensor, scale: float) -> Tensor:
        """(N, K) bool: priors that overlap the middle of the objects enough."""
        return self.iou_calculator(bboxes, scale_bboxes(gt_bboxes, scale), mode='iof') > self.min_pos_iof


def _centred(points: Tensor, bboxes: Tensor) -> Tensor:
    """(N, K) bool: points (N, 2) inside boxes (K, 4)."""
    points = points[:, None]
    return ((points > bboxes[:, :2]) & (points < bboxes[:, 2:])).all(dim=2)
