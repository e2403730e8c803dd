"""Assignment of equally many positives to every object, regardless of its size."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mmkit.bbox.assigners.base import NO_INFO, BaseAssigner, required
from mmkit.bbox.boxes import xyxy_to_cxcywh
from mmkit.bbox.iou import build_iou_calculator
from mmkit.protocols import IoUCalculator
from mmkit.registry import BBOX_ASSIGNERS, Cfg
from mmkit.structures import Assignment, Instances, PriorInfo
from mmkit.structures.assignment import IGNORED


@dataclass
class UniformAssignment(Assignment):
    """An assignment with the pairs that the box loss compares; a prior may be in several.

    Attributes:
        pos_inds: (M,) int64, the prior of each pair.
        pos_is_used: (M,) bool, whether the pair is good enough for the loss.
        pos_bboxes: (M, 4) predicted boxes.
        pos_gt_bboxes: (M, 4) the ground truth of each.
    """

    pos_inds: Tensor
    pos_is_used: Tensor
    pos_bboxes: Tensor
    pos_gt_bboxes: Tensor


@BBOX_ASSIGNERS.register_module()
class UniformAssigner(BaseAssigner):
    """Assignment of the nearest predictions and the nearest anchors to each ground truth (YOLOF, arXiv:2103.09460).

    Args:
        pos_ignore_thr: a chosen prior whose anchor overlaps less than this is ignored.
        neg_ignore_thr: a prior that is not chosen, and whose prediction overlaps more than this, is ignored.
        match_times: predictions, and anchors, that each ground truth gets.
        iou_calculator: of `IOU_CALCULATORS`; None: `BboxOverlaps2D`.
    """

    needs = frozenset({'bbox_preds'})

    def __init__(
        self,
        pos_ignore_thr: float,
        neg_ignore_thr: float,
        match_times: int = 4,
        iou_calculator: Cfg | IoUCalculator | None = None,
    ) -> None:
        self.pos_ignore_thr = pos_ignore_thr
        self.neg_ignore_thr = neg_ignore_thr
        self.match_times = match_times
        self.iou_calculator = build_iou_calculator(iou_calculator)

    def _choose(self, boxes: Tensor, gts: Instances) -> Tensor:
        """(M, K) the boxes nearest to each ground truth, by the sum of differences of centre and size."""
        cost = torch.cdist(xyxy_to_cxcywh(boxes), xyxy_to_cxcywh(gts.bboxes), p=1)
        return cost.topk(min(self.match_times, len(boxes)), dim=0, largest=False).indices

    @torch.no_grad()
    def assign(
        self, bboxes: Tensor, gts: Instances, ignored: Tensor | None = None, info: PriorInfo = NO_INFO
    ) -> UniformAssignment:
        """Assign anchors `bboxes` (N, 4) with the predictions `info.bbox_preds` to `gts`; nothing is ignored."""
        bbox_preds = required(info.bbox_preds, 'bbox_preds')
        assignment = Assignment.all_background(bboxes, gts)
        if not len(gts) or not len(bboxes):
            none = bboxes.new_zeros(0, 4)
            return UniformAssignment(
                **vars(assignment),
                pos_inds=none[:, 0].long(),
                pos_is_used=none[:, 0] > 0,
                pos_bboxes=none,
                pos_gt_bboxes=none,
            )
        chosen = torch.cat([self._choose(bbox_preds, gts), self._choose(bboxes, gts)], dim=1).reshape(-1)
        pair_gts = torch.arange(len(gts), device=bboxes.device).repeat(len(chosen) // len(gts))
        anchor_overlaps = self.iou_calculator(bboxes, gts.bboxes)  # (N, K)
        used = anchor_overlaps[chosen, pair_gts] >= self.pos_ignore_thr
        gt_inds = assignment.gt_inds
        gt_inds[self.iou_calculator(bbox_preds, gts.bboxes).amax(1) > self.neg_ignore_thr] = IGNORED
        gt_inds[chosen] = torch.where(used, pair_gts, IGNORED)
        assignment = Assignment.from_gt_inds(gt_inds, anchor_overlaps.amax(1), gts)
        return UniformAssignment(
            **vars(assignment),
            pos_inds=chosen,
            pos_is_used=used,
            pos_bboxes=bbox_preds[chosen],
            pos_gt_bboxes=gts.bboxes[pair_gts],
        )
