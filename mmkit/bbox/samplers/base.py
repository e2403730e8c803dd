"""What samplers share: the frame of sampling, and its outcome."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mmkit.bbox.assigners import Assignment
from mmkit.bbox.assigners.assignment import BACKGROUND
from mmkit.structures import Instances

HardLosses = Callable[[Tensor, Tensor], Tensor]
"""From boxes (K, 4) and their labels (K,), -1 for background, to the classification loss of each, (K,)."""


@dataclass
class Samples:
    """The chosen priors of one image: P positive, Q negative.

    Attributes:
        pos_inds: (P,) int64, ascending, into the boxes that were sampled from (ground truths first, if added).
        neg_inds: (Q,) int64, likewise.
        pos_bboxes: (P, 4).
        neg_bboxes: (Q, 4).
        pos_gt_inds: (P,) int64, the ground truth of each positive.
        pos_gt_bboxes: (P, 4).
        pos_gt_labels: (P,) int64, or None if the ground truth has no labels.
        pos_is_gt: (P,) bool, whether the box is itself an added ground truth.
    """

    pos_inds: Tensor
    neg_inds: Tensor
    pos_bboxes: Tensor
    neg_bboxes: Tensor
    pos_gt_inds: Tensor
    pos_gt_bboxes: Tensor
    pos_gt_labels: Tensor | None
    pos_is_gt: Tensor

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
    ) -> Samples:
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


@dataclass
class Choice:
    """What the two steps of a sampler choose from."""

    assignment: Assignment
    bboxes: Tensor  # (N, 4)
    hard_losses: HardLosses | None

    @property
    def positive(self) -> Tensor:
        """Ascending indices of priors with a ground truth."""
        return (self.assignment.gt_inds >= 0).nonzero(as_tuple=True)[0]

    @property
    def negative(self) -> Tensor:
        """Ascending indices of priors on the background."""
        return (self.assignment.gt_inds == BACKGROUND).nonzero(as_tuple=True)[0]


class Sampler(ABC):
    """Chooses at most `num` priors an image, at most a fraction of them positive.

    Args:
        num: priors to choose.
        pos_fraction: of `num`, at most that many positives; negatives fill up.
        neg_pos_ub: at most that many negatives for each positive (of which there is at least one, for this purpose);
            negative: no limit.
        add_gt_as_proposals: put the ground truths before the priors, each matched with itself.
    """

    def __init__(self, num: int, pos_fraction: float, neg_pos_ub: float = -1, add_gt_as_proposals: bool = True) -> None:
        self.num = num
        self.pos_fraction = pos_fraction
        self.neg_pos_ub = neg_pos_ub
        self.add_gt_as_proposals = add_gt_as_proposals

    @abstractmethod
    def choose_pos(self, choice: Choice, num: int) -> Tensor:
        """Indices of at most `num` positives."""

    @abstractmethod
    def choose_neg(self, choice: Choice, num: int) -> Tensor:
        """Indices of at most `num` negatives."""

    def sample(
        self, assignment: Assignment, bboxes: Tensor, gts: Instances, hard_losses: HardLosses | None = None
    ) -> Samples:
        """Choose among `bboxes` (N, 4) as assigned to `gts`; only OHEM needs `hard_losses`."""
        bboxes = bboxes[:, :4]
        num_added = len(gts) if self.add_gt_as_proposals else 0
        if num_added:
            bboxes = torch.cat([gts.bboxes.to(bboxes), bboxes])
            assignment = assignment.with_gts(gts)
        choice = Choice(assignment, bboxes, hard_losses)
        pos_inds = self.choose_pos(choice, int(self.num * self.pos_fraction)).sort().values
        num_neg = self.num - len(pos_inds)
        if self.neg_pos_ub >= 0:
            num_neg = min(num_neg, int(self.neg_pos_ub * max(1, len(pos_inds))))
        neg_inds = self.choose_neg(choice, num_neg).sort().values
        return Samples.gather(pos_inds, neg_inds, bboxes, gts, assignment, num_added)


def random_choice(gallery: Tensor, num: int) -> Tensor:
    """`num` different elements of `gallery` (N,), or all of them if there are no more."""
    if len(gallery) <= num:
        return gallery
    return gallery[torch.randperm(len(gallery))[:num].to(gallery.device)]
