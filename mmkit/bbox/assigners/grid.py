"""YOLOv3: the cell with the centre of an object is responsible for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmkit.bbox.assigners.assignment import BACKGROUND, IGNORED, Assignment, all_background
from mmkit.bbox.assigners.max_iou import take_latest
from mmkit.bbox.iou import BboxOverlaps2D, build_iou_calculator
from mmkit.registry import BBOX_ASSIGNERS
from mmkit.structures import Instances


@BBOX_ASSIGNERS.register_module()
class GridAssigner:
    """Overlap decides among the anchors of responsible cells (arXiv:1804.02767).

    Args:
        pos_iou_thr: above this overlap a responsible prior is positive.
        neg_iou_thr: up to this overlap a prior is background; or (low, high): within low < overlap <= high.
            What is neither is ignored.
        min_pos_iou: overlap above which a ground truth gets the best of its responsible priors anyway.
        gt_max_assign_all: give it all responsible priors of the same, greatest overlap, or just the first.
        iou_calculator: of `IOU_CALCULATORS`; None: `BboxOverlaps2D`.
    """

    def __init__(
        self,
        pos_iou_thr: float,
        neg_iou_thr: float | Sequence[float],
        min_pos_iou: float = 0.0,
        gt_max_assign_all: bool = True,
        iou_calculator: Mapping[str, Any] | BboxOverlaps2D | None = None,
    ) -> None:
        if isinstance(neg_iou_thr, Sequence) and len(neg_iou_thr) != 2:
            raise ValueError(f'neg_iou_thr must be a number or (low, high), got {neg_iou_thr}')
        self.pos_iou_thr = pos_iou_thr
        self.neg_iou_thr = neg_iou_thr
        self.min_pos_iou = min_pos_iou
        self.gt_max_assign_all = gt_max_assign_all
        self.iou_calculator = build_iou_calculator(iou_calculator)

    def assign(
        self, bboxes: Tensor, gts: Instances, ignored: Tensor | None = None, *, responsible: Tensor
    ) -> Assignment:
        """Assign `bboxes` (N, 4) to `gts`.

        Args:
            bboxes: (N, 4) xyxy.
            gts: the ground truth.
            ignored: plays no part in YOLO.
            responsible: (N,) bool, see `YOLOAnchorGenerator.responsible_flags`.
        """
        if not len(gts) or not len(bboxes):
            return all_background(bboxes, gts)
        overlaps = self.iou_calculator(gts.bboxes, bboxes)  # (K, N)
        gt_inds = torch.full((len(bboxes),), IGNORED, dtype=torch.long, device=bboxes.device)
        gt_inds[self._is_background(overlaps.amax(dim=0))] = BACKGROUND

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

    def _is_background(self, max_overlaps: Tensor) -> Tensor:
        if isinstance(self.neg_iou_thr, Sequence):
            low, high = self.neg_iou_thr
            return (max_overlaps > low) & (max_overlaps <= high)
        return max_overlaps <= self.neg_iou_thr
