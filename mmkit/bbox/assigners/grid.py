"""Assignment to the cell that contains the centre of the object (YOLOv3)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mmkit.bbox.assigners.base import NO_INFO, BaseAssigner, required
from mmkit.bbox.assigners.max_iou import neg_range, take_latest
from mmkit.bbox.iou import build_iou_calculator
from mmkit.protocols import IoUCalculator
from mmkit.registry import BBOX_ASSIGNERS, Cfg
from mmkit.structures import Assignment, Instances, PriorInfo
from mmkit.structures.assignment import BACKGROUND, IGNORED


@BBOX_ASSIGNERS.register_module()
class GridAssigner(BaseAssigner):
    """Assignment by overlap among the anchors of responsible cells (arXiv:1804.02767). Regions are not ignored.

    Args:
        pos_iou_thr: above this overlap a responsible prior is positive.
        neg_iou_thr: up to this overlap a prior is background; or (low, high): within low < overlap <= high.
            What is neither is ignored.
        min_pos_iou: overlap above which a ground truth gets the best of its responsible priors anyway.
        gt_max_assign_all: give it all responsible priors of the same, greatest overlap, or just the first.
        iou_calculator: of `IOU_CALCULATORS`; None: `BboxOverlaps2D`.
    """

    needs = frozenset({'responsible'})

    def __init__(
        self,
        pos_iou_thr: float,
        neg_iou_thr: float | Sequence[float],
        min_pos_iou: float = 0.0,
        gt_max_assign_all: bool = True,
        iou_calculator: Cfg | IoUCalculator | None = None,
    ) -> None:
        self.pos_iou_thr = pos_iou_thr
        # Without a lower bound, a prior that overlaps nothing is background, too.
        self.neg_iou_thr = neg_range(neg_iou_thr, lowest=-math.inf)
        self.min_pos_iou = min_pos_iou
        self.gt_max_assign_all = gt_max_assign_all
        self.iou_calculator = build_iou_calculator(iou_calculator)

    def assign(
        self, bboxes: Tensor, gts: Instances, ignored: Tensor | None = None, info: PriorInfo = NO_INFO
    ) -> Assignment:
        responsible = required(info.responsible, 'responsible')  # (N,)
        if not len(gts) or not len(bboxes):
            return Assignment.all_background(bboxes, gts)
        overlaps = self.iou_calculator(gts.bboxes, bboxes)  # (K, N)
        gt_inds = torch.full((len(bboxes),), IGNORED, dtype=torch.long, device=bboxes.device)
        best_overlaps = overlaps.amax(dim=0)  # (N,)
        low, high = self.neg_iou_thr
        gt_inds[(best_overlaps > low) & (best_overlaps <= high)] = BACKGROUND

        overlaps[:, ~responsible] = -1
        max_overlaps, best_gt = overlaps.max(dim=0)
        gt_inds = torch.where((max_overlaps > self.pos_iou_thr) & responsible, best_gt, gt_inds)
        gt_max, first_prior = overlaps.max(dim=1)  # (K,)
        enough = gt_max > self.min_pos_iou
        if self.gt_max_assign_all:
            best = (overlaps == gt_max[:, None]) & enough[:, None] & responsible
            gt, prior = best.nonzero(as_tuple=True)
        else:
            gt = (enough & responsible[first_prior]).nonzero(as_tuple=True)[0]
            prior = first_prior[gt]
        return Assignment.from_gt_inds(take_latest(gt_inds, prior, gt), max_overlaps, gts)
