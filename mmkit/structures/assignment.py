"""Contracts of training targets: what assigners and samplers are given, and what they return."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmkit.structures.instances import Instances

BACKGROUND = -1
IGNORED = -2

HardLosses = Callable[[Tensor, Tensor], Tensor]
"""From boxes (K, 4) and their labels (K,), -1 for background, to the classification loss of each, (K,)."""


@dataclass(frozen=True)
class RegionPredictions:
    """Predictions of a second stage for K regions that are background.

    Attributes:
        losses: (K,) classification loss.
        scores: (K,) greatest probability of a class.
        bboxes: (K, 4) box of that class.
    """

    losses: Tensor
    scores: Tensor
    bboxes: Tensor


PredictRegions = Callable[[Tensor], RegionPredictions]
"""From boxes (K, 4) on the background to what the head makes of them."""


@dataclass(frozen=True)
class PriorInfo:
    """Properties of the N priors of one image besides their boxes. A head fills in what its assigner needs.

    Attributes:
        num_level_bboxes: priors of each pyramid level; they sum up to N.
        points: (N, 4) x, y, stride_w, stride_h of the cell of each prior.
        responsible: (N,) bool, priors of the cells in which an object has its centre.
        scores: (N, C) predicted probabilities.
        cls_scores: (N, C or C + 1) predicted logits.
        bbox_preds: (N, 4) predicted boxes xyxy, in pixels.
        img_shape: (height, width) of the image, without padding.
        approxs: (N, A, 4) anchors of several shapes that stand for each prior.
    """

    num_level_bboxes: Sequence[int] | None = None
    points: Tensor | None = None
    responsible: Tensor | None = None
    scores: Tensor | None = None
    cls_scores: Tensor | None = None
    bbox_preds: Tensor | None = None
    img_shape: Sequence[int] | None = None
    approxs: Tensor | None = None


@dataclass
class Assignment:
    """Ground truth that each of N priors is to predict.

    Attributes:
        gt_inds: (N,) int64, index of the ground truth, -1 background, -2 ignored.
        max_overlaps: (N,) float32, how well the prior fits, by the measure of the assigner.
        labels: (N,) int64, class of the ground truth, -1 where there is none; None if the ground truth has no labels.
        num_gts: number of ground truths.
    """

    gt_inds: Tensor
    max_overlaps: Tensor
    labels: Tensor | None
    num_gts: int

    @classmethod
    def from_gt_inds(cls, gt_inds: Tensor, max_overlaps: Tensor, gts: Instances) -> Assignment:
        """With the labels looked up in `gts`."""
        labels = None
        if gts.labels is not None:
            labels = torch.full_like(gt_inds, -1)
            positive = gt_inds >= 0
            labels[positive] = gts.labels.to(gt_inds.device)[gt_inds[positive]]
        return Assignment(gt_inds, max_overlaps, labels, len(gts))

    @classmethod
    def all_background(cls, bboxes: Tensor, gts: Instances) -> Assignment:
        """For images without ground truth, or without priors."""
        gt_inds = torch.full((len(bboxes),), BACKGROUND, dtype=torch.long, device=bboxes.device)
        return cls.from_gt_inds(gt_inds, bboxes.new_zeros(len(bboxes), dtype=torch.float32), gts)

    def with_gts(self, gts: Instances) -> Assignment:
        """The assignment after the ground truths themselves were put before the priors, each matched with itself."""
        labels = self.labels
        if labels is not None:
            assert gts.labels is not None
            labels = torch.cat([gts.labels.to(labels), labels])
        own = torch.arange(len(gts), device=self.gt_inds.device)
        ones = self.max_overlaps.new_ones(len(gts))
        return Assignment(torch.cat([own, self.gt_inds]), torch.cat([ones, self.max_overlaps]), labels, self.num_gts)

    def to(self, device: torch.device | str) -> Assignment:
        labels = None if self.labels is None else self.labels.to(device)
        return Assignment(self.gt_inds.to(device), self.max_overlaps.to(device), labels, self.num_gts)


@dataclass
class SamplingResult:
    """Priors of one image that the loss sees: P positive, Q negative.

    Attributes:
        pos_inds: (P,) int64, ascending, into the boxes that were sampled from (ground truths first, if added).
        neg_inds: (Q,) int64, likewise.
        pos_bboxes: (P, 4).
        neg_bboxes: (Q, 4).
        pos_gt_inds: (P,) int64, the ground truth of each positive.
        pos_gt_bboxes: (P, 4).
        pos_gt_labels: (P,) int64, or None if the ground truth has no labels.
        pos_is_gt: (P,) bool, whether the box is itself an added ground truth.
        neg_weights: (Q,) weights of the negatives in the classification loss; None: 1.
    """

    pos_inds: Tensor
    neg_inds: Tensor
    pos_bboxes: Tensor
    neg_bboxes: Tensor
    pos_gt_inds: Tensor
    pos_gt_bboxes: Tensor
    pos_gt_labels: Tensor | None
    pos_is_gt: Tensor
    neg_weights: Tensor | None = None

    @property
    def bboxes(self) -> Tensor:
        """(P + Q, 4), positives first."""
        return torch.cat([self.pos_bboxes, self.neg_bboxes])

    @classmethod
    def gather(
        cls,
        pos_inds: Tensor,
        neg_inds: Tensor,
        bboxes: Tensor,
        gts: Instances,
        assignment: Assignment,
        num_added: int = 0,
    ) -> SamplingResult:
        """Look up everything by index; the first `num_added` of `bboxes` are ground truths."""
        pos_gt_inds = assignment.gt_inds[pos_inds]
        return cls(
            pos_inds=pos_inds,
            neg_inds=neg_inds,
            pos_bboxes=bboxes[pos_inds],
            neg_bboxes=bboxes[neg_inds],
            pos_gt_inds=pos_gt_inds,
            pos_gt_bboxes=gts.bboxes[pos_gt_inds],
            pos_gt_labels=None if assignment.labels is None else assignment.labels[pos_inds],
            pos_is_gt=pos_inds < num_added,
        )
