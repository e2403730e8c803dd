"""Adaptive training sample selection: a threshold from the statistics of each ground truth."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmkit.bbox.assigners.base import NO_INFO, BaseAssigner, inside, required, strongest_claims
from mmkit.bbox.boxes import bbox_centers
from mmkit.bbox.iou import build_iou_calculator
from mmkit.protocols import IoUCalculator
from mmkit.registry import BBOX_ASSIGNERS, Cfg
from mmkit.structures import Assignment, Instances, PriorInfo
from mmkit.structures.assignment import BACKGROUND, IGNORED


@BBOX_ASSIGNERS.register_module()
class ATSSAssigner(BaseAssigner):
    """Adaptive selection (arXiv:1912.02424).

    Candidates of a ground truth are the `topk` priors of each level nearest to its centre; positive are those with
    their centre inside and an IoU of at least mean plus standard deviation of the candidates.

    Args:
        topk: candidates per level.
        alpha: with it, candidates are judged by score ** (1 - alpha) * IoU ** alpha of the current predictions
            (arXiv:2107.02963); None: by the IoU of the priors.
        iou_calculator: of `IOU_CALCULATORS`; None: `BboxOverlaps2D`.
        ignore_iof_thr: priors that lie in an ignored region with more than this part of their area are ignored;
            negative: never.
    """

    def __init__(
        self,
        topk: int,
        alpha: float | None = None,
        iou_calculator: Cfg | IoUCalculator | None = None,
        ignore_iof_thr: float = -1,
    ) -> None:
        self.topk = topk
        self.alpha = alpha
        self.iou_calculator = build_iou_calculator(iou_calculator)
        self.ignore_iof_thr = ignore_iof_thr
        predictions = () if alpha is None else ('scores', 'bbox_preds')
        self.needs = frozenset(['num_level_bboxes', *predictions])

    def assign(
        self, bboxes: Tensor, gts: Instances, ignored: Tensor | None = None, info: PriorInfo = NO_INFO
    ) -> Assignment:
        if not len(gts) or not len(bboxes):
            return Assignment.all_background(bboxes, gts)
        overlaps = self._overlaps(bboxes, gts, info)  # (N, K)
        centers, gt_centers = bbox_centers(bboxes), bbox_centers(gts.bboxes)
        distances = (centers[:, None] - gt_centers[None]).pow(2).sum(-1).sqrt()  # (N, K)
        gt_inds = torch.full((len(bboxes),), BACKGROUND, dtype=torch.long, device=bboxes.device)
        if self.ignore_iof_thr > 0 and ignored is not None and len(ignored):
            covered = self.iou_calculator(bboxes, ignored, mode='iof').amax(dim=1) > self.ignore_iof_thr
            distances[covered] = float('inf')
            gt_inds[covered] = IGNORED

        candidates = self._nearest(distances, required(info.num_level_bboxes, 'num_level_bboxes'))  # (M, K)
        candidate_overlaps = overlaps.gather(0, candidates)
        threshold = candidate_overlaps.mean(0)
        if len(candidates) > 1:  # one candidate has no deviation
            threshold = threshold + candidate_overlaps.std(0)
        positive = (candidate_overlaps >= threshold) & inside(centers[candidates], gts.bboxes)
        best, best_gt = strongest_claims(candidates, positive, overlaps)
        taken = best != -float('inf')
        gt_inds[taken] = best_gt[taken]
        return Assignment.from_gt_inds(gt_inds, best, gts)

    def _overlaps(self, bboxes: Tensor, gts: Instances, info: PriorInfo) -> Tensor:
        """(N, K) fitness of each prior for each ground truth."""
        if self.alpha is None:
            return self.iou_calculator(bboxes, gts.bboxes)
        assert gts.labels is not None
        ious = self.iou_calculator(required(info.bbox_preds, 'bbox_preds'), gts.bboxes)
        return required(info.scores, 'scores')[:, gts.labels] ** (1 - self.alpha) * ious**self.alpha

    def _nearest(self, distances: Tensor, num_level_bboxes: Sequence[int]) -> Tensor:
        """(M, K) indices of the candidates of each ground truth."""
        candidates, start = [], 0
        for level in torch.split(distances, list(num_level_bboxes)):
            candidates.append(level.topk(min(self.topk, len(level)), dim=0, largest=False).indices + start)
            start += len(level)
        return torch.cat(candidates)
