"""ATSS: the threshold follows from the statistics of each ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmkit.bbox.assigners.assignment import BACKGROUND, IGNORED, Assignment, all_background
from mmkit.bbox.iou import BboxOverlaps2D, build_iou_calculator
from mmkit.registry import BBOX_ASSIGNERS
from mmkit.structures import Instances


@BBOX_ASSIGNERS.register_module()
class ATSSAssigner:
    """Adaptive selection (arXiv:1912.02424).

    Candidates of a ground truth are the `topk` priors of each level nearest to its centre; positive are those with
    their centre inside and an IoU of at least mean plus standard deviation of the candidates.

    Args:
        topk: candidates a level.
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
        iou_calculator: Mapping[str, Any] | BboxOverlaps2D | None = None,
        ignore_iof_thr: float = -1,
    ) -> None:
        self.topk = topk
        self.alpha = alpha
        self.iou_calculator = build_iou_calculator(iou_calculator)
        self.ignore_iof_thr = ignore_iof_thr

    def assign(
        self,
        bboxes: Tensor,
        gts: Instances,
        ignored: Tensor | None = None,
        *,
        num_level_bboxes: Sequence[int],
        cls_scores: Tensor | None = None,
        bbox_preds: Tensor | None = None,
    ) -> Assignment:
        """Assign `bboxes` (N, 4), of which `num_level_bboxes` lie on each level, to `gts`.

        Args:
            bboxes: (N, 4) xyxy.
            gts: the ground truth.
            ignored: (K, 4) regions.
            num_level_bboxes: sums up to N.
            cls_scores: (N, C) logits, needed with `alpha`.
            bbox_preds: (N, 4) predicted boxes xyxy, needed with `alpha`.

        Raises:
            ValueError: if predictions are missing that `alpha` needs.
        """
        if not len(gts) or not len(bboxes):
            return all_background(bboxes, gts)
        overlaps = self._overlaps(bboxes, gts, cls_scores, bbox_preds)  # (N, K)
        centers, gt_centers = _centers(bboxes), _centers(gts.bboxes)
        distances = (centers[:, None] - gt_centers[None]).pow(2).sum(-1).sqrt()  # (N, K)
        gt_inds = torch.full((len(bboxes),), BACKGROUND, dtype=torch.long, device=bboxes.device)
        if self.ignore_iof_thr > 0 and ignored is not None and len(ignored):
            inside = self.iou_calculator(bboxes, ignored, mode='iof').amax(dim=1) > self.ignore_iof_thr
            distances[inside] = float('inf')
            gt_inds[inside] = IGNORED

        candidates = self._nearest(distances, num_level_bboxes)  # (M, K)
        found = overlaps.gather(0, candidates)
        # One candidate has no deviation.
        threshold = found.mean(0) + (found.std(0) if len(found) > 1 else 0)
        positive = (found >= threshold) & _inside(centers[candidates], gts.bboxes)
        # A prior that several ground truths want goes to the one it overlaps most.
        wanted = torch.full_like(overlaps, -float('inf'))
        wanted.scatter_(0, candidates, torch.where(positive, found, -float('inf')))
        best, best_gt = wanted.max(dim=1)
        taken = best != -float('inf')
        gt_inds[taken] = best_gt[taken]
        return Assignment.from_gt_inds(gt_inds, best, gts)

    def _overlaps(self, bboxes: Tensor, gts: Instances, cls_scores: Tensor | None, bbox_preds: Tensor | None) -> Tensor:
        if self.alpha is None:
            return self.iou_calculator(bboxes, gts.bboxes)
        if cls_scores is None or bbox_preds is None or gts.labels is None:
            raise ValueError('alpha of ATSSAssigner needs cls_scores and bbox_preds in assign(), and labels in gts')
        ious = self.iou_calculator(bbox_preds, gts.bboxes)
        return cls_scores.sigmoid()[:, gts.labels] ** (1 - self.alpha) * ious**self.alpha

    def _nearest(self, distances: Tensor, num_level_bboxes: Sequence[int]) -> Tensor:
        """(M, K) indices of the candidates of each ground truth."""
        candidates, start = [], 0
        for level in distances.split(list(num_level_bboxes)):
            candidates.append(level.topk(min(self.topk, len(level)), dim=0, largest=False).indices + start)
            start += len(level)
        return torch.cat(candidates)


def _centers(bboxes: Tensor) -> Tensor:
    return (bboxes[:, :2] + bboxes[:, 2:4]) / 2


def _inside(points: Tensor, bboxes: Tensor) -> Tensor:
    """(M, K) bool: points (M, K, 2) at least a hundredth of a pixel inside boxes (K, 4)."""
    margins = torch.cat([points - bboxes[:, :2], bboxes[:, 2:] - points], dim=-1)
    return margins.amin(-1) > 0.01
