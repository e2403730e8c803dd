"""Assignment of each prior to the several ground truths that it overlaps most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmkit.bbox.assigners.base import NO_INFO, BaseAssigner
from mmkit.bbox.assigners.max_iou import neg_range
from mmkit.bbox.iou import build_iou_calculator
from mmkit.errors import InvalidValueError
from mmkit.protocols import IoUCalculator
from mmkit.registry import BBOX_ASSIGNERS, Cfg
from mmkit.structures import Assignment, Instances, PriorInfo
from mmkit.structures.assignment import BACKGROUND, IGNORED


@dataclass
class MultiInstanceAssignment(Assignment):
    """The ground truths that each of N priors is to predict together; `gt_inds` is the first column.

    Attributes:
        instance_gt_inds: (N, K) int64, best first, -1 background, -2 ignored.
    """

    instance_gt_inds: Tensor


@BBOX_ASSIGNERS.register_module()
class MultiInstanceAssigner(BaseAssigner):
    """The K ground truths of the greatest overlap, if that is enough (arXiv:2003.09163).

    Args:
        pos_iou_thr: from this overlap on a ground truth is to be predicted.
        neg_iou_thr: below this overlap there is background; or (low, high): background within low <= overlap < high.
            What is neither is ignored.
        min_pos_iou: has no effect without `match_low_quality`.
        match_low_quality: must be False.
        ignore_iof_thr: must be negative: a prior is ignored if it lies in an ignored region with a greater part of its
            area than it overlaps an object by, and that part is at least `pos_iou_thr`.
        num_instance: K.
        iou_calculator: of `IOU_CALCULATORS`; None: `BboxOverlaps2D`.

    Raises:
        InvalidValueError: for other values of `match_low_quality` and `ignore_iof_thr`.
    """

    def __init__(
        self,
        pos_iou_thr: float,
        neg_iou_thr: float | Sequence[float],
        min_pos_iou: float = 0.0,
        match_low_quality: bool = False,
        ignore_iof_thr: float = -1,
        num_instance: int = 2,
        iou_calculator: Cfg | IoUCalculator | None = None,
    ) -> None:
        if match_low_quality:
            raise InvalidValueError('MultiInstanceAssigner: match_low_quality must be False', key='match_low_quality')
        if ignore_iof_thr >= 0:
            raise InvalidValueError('MultiInstanceAssigner: ignore_iof_thr must be negative', key='ignore_iof_thr')
        self.pos_iou_thr = pos_iou_thr
        self.neg_iou_thr = neg_range(neg_iou_thr)
        self.num_instance = num_instance
        self.iou_calculator = build_iou_calculator(iou_calculator)

    def assign(
        self, bboxes: Tensor, gts: Instances, ignored: Tensor | None = None, info: PriorInfo = NO_INFO
    ) -> MultiInstanceAssignment:
        overlaps, gt_inds = self._best(self.iou_calculator(bboxes, gts.bboxes))  # (N, K) each
        hidden = torch.zeros_like(overlaps)
        if ignored is not None and len(ignored):
            hidden = self._best(self.iou_calculator(bboxes, ignored, mode='iof'))[0]
        is_hidden = (overlaps < self.pos_iou_thr) & (hidden > overlaps)
        overlaps = torch.where(is_hidden, hidden, overlaps)
        low, high = self.neg_iou_thr
        is_background = (overlaps >= low) & (overlaps < high)
        gt_inds = torch.where((overlaps >= self.pos_iou_thr) & ~is_hidden, gt_inds, IGNORED)
        gt_inds = gt_inds.masked_fill(is_background, BACKGROUND)
        first = Assignment.from_gt_inds(gt_inds[:, 0], overlaps[:, 0], gts)
        return MultiInstanceAssignment(first.gt_inds, first.max_overlaps, first.labels, first.num_gts, gt_inds)

    def _best(self, overlaps: Tensor) -> tuple[Tensor, Tensor]:
        """The K greatest of the overlaps (N, G) and their columns, (N, K) each; 0 where there are too few."""
        missing = max(self.num_instance - overlaps.shape[1], 0)
        overlaps = torch.cat([overlaps, overlaps.new_zeros(len(overlaps), missing)], dim=1)
        values, inds = overlaps.sort(dim=1, descending=True, stable=True)
        return values[:, : self.num_instance], inds[:, : self.num_instance]
