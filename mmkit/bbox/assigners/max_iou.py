"""Assignment of each prior to the ground truth that it overlaps most."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmkit.bbox.assigners.base import NO_INFO, BaseAssigner, required
from mmkit.bbox.iou import build_iou_calculator
from mmkit.errors import InvalidValueError
from mmkit.protocols import IoUCalculator
from mmkit.registry import BBOX_ASSIGNERS, Cfg
from mmkit.structures import Assignment, Instances, PriorInfo
from mmkit.structures.assignment import BACKGROUND, IGNORED


# The Ascend variant of mmdetection is for another processor and computes the same.
@BBOX_ASSIGNERS.register_module(['MaxIoUAssigner', 'AscendMaxIoUAssigner'])
class MaxIoUAssigner(BaseAssigner):
    """Assignment by overlap (arXiv:1506.01497).

    Args:
        pos_iou_thr: from this overlap on a prior is positive.
        neg_iou_thr: below this overlap a prior is background; or (low, high): background within low <= overlap < high.
            What is neither is ignored.
        min_pos_iou: least overlap for the priors that a ground truth gets because nothing fits it better.
        gt_max_assign_all: give such a ground truth all priors of the same, greatest overlap, or just the first.
        ignore_iof_thr: priors that lie in an ignored region with more than this part of their area are ignored;
            negative: never.
        ignore_wrt_candidates: measure that part on the prior, or on the ignored region.
        match_low_quality: whether ground truths get their best priors even below `pos_iou_thr`. A later ground truth
            takes them from an earlier one.
        gpu_assign_thr: with more ground truths than this, compute on the CPU; negative: never.
        iou_calculator: of `IOU_CALCULATORS`; None: `BboxOverlaps2D`.
    """

    def __init__(
        self,
        pos_iou_thr: float,
        neg_iou_thr: float | Sequence[float],
        min_pos_iou: float = 0.0,
        gt_max_assign_all: bool = True,
        ignore_iof_thr: float = -1,
        ignore_wrt_candidates: bool = True,
        match_low_quality: bool = True,
        gpu_assign_thr: int = -1,
        iou_calculator: Cfg | IoUCalculator | None = None,
    ) -> None:
        self.pos_iou_thr = pos_iou_thr
        self.neg_iou_thr = neg_range(neg_iou_thr)
        self.min_pos_iou = min_pos_iou
        self.gt_max_assign_all = gt_max_assign_all
        self.ignore_iof_thr = ignore_iof_thr
        self.ignore_wrt_candidates = ignore_wrt_candidates
        self.match_low_quality = match_low_quality
        self.gpu_assign_thr = gpu_assign_thr
        self.iou_calculator = build_iou_calculator(iou_calculator)

    def assign(
        self, bboxes: Tensor, gts: Instances, ignored: Tensor | None = None, info: PriorInfo = NO_INFO
    ) -> Assignment:
        device = bboxes.device
        if 0 < self.gpu_assign_thr < len(gts):
            bboxes, gts = bboxes.cpu(), gts.to('cpu')
            ignored = None if ignored is None else ignored.cpu()
        if not len(gts) or not len(bboxes):
            return Assignment.all_background(bboxes, gts).to(device)
        overlaps = self.overlaps(bboxes, gts.bboxes, info)  # (K, N)
        overlaps[:, self._in_ignored(bboxes, ignored)] = -1
        max_overlaps, gt_inds = self.match(overlaps)
        return Assignment.from_gt_inds(gt_inds, max_overlaps, gts).to(device)

    def overlaps(self, bboxes: Tensor, gt_bboxes: Tensor, info: PriorInfo) -> Tensor:
        """(K, N) of ground truths (K, 4) and priors (N, 4)."""
        return self.iou_calculator(gt_bboxes, bboxes)

    def match(self, overlaps: Tensor) -> tuple[Tensor, Tensor]:
        """Greatest overlap (N,) and index of the ground truth (N,) from overlaps (K, N); -1 means ignored."""
        max_overlaps, best_gt = overlaps.max(dim=0)
        low, high = self.neg_iou_thr
        gt_inds = torch.full_like(best_gt, IGNORED)
        gt_inds[(max_overlaps >= low) & (max_overlaps < high)] = BACKGROUND
        gt_inds = torch.where(max_overlaps >= self.pos_iou_thr, best_gt, gt_inds)
        if self.match_low_quality:
            gt_inds = self._match_low_quality(overlaps, gt_inds)
        return max_overlaps, gt_inds

    def _match_low_quality(self, overlaps: Tensor, gt_inds: Tensor) -> Tensor:
        gt_max, first_prior = overlaps.max(dim=1)  # (K,)
        enough = gt_max >= self.min_pos_iou
        if self.gt_max_assign_all:
            gt, prior = ((overlaps == gt_max[:, None]) & enough[:, None]).nonzero(as_tuple=True)
        else:
            gt = enough.nonzero(as_tuple=True)[0]
            prior = first_prior[gt]
        return take_latest(gt_inds, prior, gt)

    def _in_ignored(self, bboxes: Tensor, ignored: Tensor | None) -> Tensor:
        """(N,) bool: priors within an ignored region."""
        if self.ignore_iof_thr <= 0 or ignored is None or not len(ignored):
            return torch.zeros(len(bboxes), dtype=torch.bool, device=bboxes.device)
        if self.ignore_wrt_candidates:
            iof = self.iou_calculator(bboxes, ignored, mode='iof').amax(dim=1)
        else:
            iof = self.iou_calculator(ignored, bboxes, mode='iof').amax(dim=0)
        return iof > self.ignore_iof_thr


@BBOX_ASSIGNERS.register_module()
class ApproxMaxIoUAssigner(MaxIoUAssigner):
    """Assignment by the best overlap of several anchors that stand for a prior (arXiv:1901.03278).

    Arguments are those of `MaxIoUAssigner`. A prior whose shape is predicted has no overlap of its own before that;
    ignored regions are compared with the prior itself.
    """

    needs = frozenset({'approxs'})

    def overlaps(self, bboxes: Tensor, gt_bboxes: Tensor, info: PriorInfo) -> Tensor:
        approxs = required(info.approxs, 'approxs').to(bboxes)  # (N, A, 4)
        of_each = self.iou_calculator(gt_bboxes, approxs.flatten(0, 1))  # (K, N * A)
        return of_each.view(len(gt_bboxes), *approxs.shape[:2]).amax(dim=2)


def take_latest(gt_inds: Tensor, priors: Tensor, gts: Tensor) -> Tensor:
    """`gt_inds` (N,) with `priors` (M,) given to `gts` (M,); a later ground truth takes a prior from an earlier one."""
    latest = torch.full_like(gt_inds, -1).scatter_reduce(0, priors, gts, 'amax')
    return torch.where(latest >= 0, latest, gt_inds)


def neg_range(neg_iou_thr: float | Sequence[float], lowest: float = 0.0) -> tuple[float, float]:
    """Overlaps (low, high) of the background, from both bounds or from the upper one."""
    if not isinstance(neg_iou_thr, Sequence):
        return lowest, neg_iou_thr
    if len(neg_iou_thr) != 2:
        raise InvalidValueError(f'neg_iou_thr must be a number or (low, high), got {neg_iou_thr}', key='neg_iou_thr')
    return neg_iou_thr[0], neg_iou_thr[1]
