"""Base of samplers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from mmkit.structures import Assignment, Instances, SamplingResult
from mmkit.structures.assignment import BACKGROUND, HardLosses, PredictRegions


@dataclass
class SamplingContext:
    """The assigned priors of one image, from which a sampler chooses.

    Attributes:
        bboxes: (N, 4) the priors.
        hard_losses: computes the loss of each; None if the head cannot.
        predict: computes what the head makes of those on the background; None if the head cannot.
    """

    assignment: Assignment
    bboxes: Tensor
    hard_losses: HardLosses | None
    predict: PredictRegions | None = None

    @property
    def positive(self) -> Tensor:
        """Ascending indices of priors with a ground truth."""
        return (self.assignment.gt_inds >= 0).nonzero(as_tuple=True)[0]

    @property
    def negative(self) -> Tensor:
        """Ascending indices of priors on the background."""
        return (self.assignment.gt_inds == BACKGROUND).nonzero(as_tuple=True)[0]


class BaseSampler(ABC):
    """Chooses at most `num` priors per image, at most a fraction of them positive.

    Args:
        num: priors to choose.
        pos_fraction: of `num`, at most that many positives; negatives fill up.
        neg_pos_ub: at most that many negatives for each positive (counting at least one);
            negative: no limit.
        add_gt_as_proposals: put the ground truths before the priors, each matched with itself.

    Attributes:
        takes_all: whether every prior that is not ignored is kept.
        needs_hard_losses: whether `sample` needs `hard_losses` or `predict`, which only a second stage can compute.
    """

    takes_all = False
    needs_hard_losses = False

    def __init__(self, num: int, pos_fraction: float, neg_pos_ub: float = -1, add_gt_as_proposals: bool = True) -> None:
        self.num = num
        self.pos_fraction = pos_fraction
        self.neg_pos_ub = neg_pos_ub
        self.add_gt_as_proposals = add_gt_as_proposals

    @abstractmethod
    def choose_pos(self, context: SamplingContext, num: int) -> Tensor:
        """Indices of at most `num` positives."""

    @abstractmethod
    def choose_neg(self, context: SamplingContext, num: int) -> Tensor:
        """Indices of at most `num` negatives."""

    def sample(
        self,
        assignment: Assignment,
        bboxes: Tensor,
        gts: Instances,
        hard_losses: HardLosses | None = None,
        predict: PredictRegions | None = None,
    ) -> SamplingResult:
        """Choose among `bboxes` (N, 4) as assigned to `gts`; only OHEM needs `hard_losses`, ScoreHLR `predict`."""
        context, num_added = self.context(assignment, bboxes, gts, hard_losses, predict)
        pos_inds = self.choose_pos(context, int(self.num * self.pos_fraction)).sort().values
        neg_inds = self.choose_neg(context, self.num_neg(len(pos_inds))).sort().values
        return SamplingResult.gather(pos_inds, neg_inds, context.bboxes, gts, context.assignment, num_added)

    def context(
        self,
        assignment: Assignment,
        bboxes: Tensor,
        gts: Instances,
        hard_losses: HardLosses | None,
        predict: PredictRegions | None,
    ) -> tuple[SamplingContext, int]:
        """The candidates with their assignment, and the number of ground truths put before them."""
        bboxes = bboxes[:, :4]
        num_added = len(gts) if self.add_gt_as_proposals else 0
        if num_added:
            bboxes = torch.cat([gts.bboxes.to(bboxes), bboxes])
            assignment = assignment.with_gts(gts)
        return SamplingContext(assignment, bboxes, hard_losses, predict), num_added

    def num_neg(self, num_pos: int) -> int:
        """Number of negatives beside `num_pos` positives."""
        num = self.num - num_pos
        return num if self.neg_pos_ub < 0 else min(num, int(self.neg_pos_ub * max(1, num_pos)))


def random_choice(gallery: Tensor, num: int) -> Tensor:
    """`num` different elements of `gallery` (N,), or all of them if there are no more."""
    if len(gallery) <= num:
        return gallery
    return gallery[torch.randperm(len(gallery))[:num].to(gallery.device)]
