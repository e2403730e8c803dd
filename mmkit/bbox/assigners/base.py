"""Base of assigners, and steps that several of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from mmkit.structures import Assignment, Instances, PriorInfo

T = TypeVar('T')
NO_INFO = PriorInfo()


class BaseAssigner(ABC):
    """Decides which prior is to predict which ground truth.

    Attributes:
        needs: fields of `PriorInfo` that `assign` reads. A head that cannot fill them in refuses the assigner.
    """

    needs: Collection[str] = frozenset()

    @abstractmethod
    def assign(
        self, bboxes: Tensor, gts: Instances, ignored: Tensor | None = None, info: PriorInfo = NO_INFO
    ) -> Assignment:
        """Assign the priors of one image.

        Args:
            bboxes: (N, 4) priors xyxy, in pixels.
            gts: the ground truth.
            ignored: (K, 4) regions in which nothing counts.
            info: has at least the fields that the assigner `needs`.
        """


def required(value: T | None, name: str) -> T:
    """The field `name` of a `PriorInfo`.

    Raises:
        ValueError: if it is missing.
    """
    if value is None:
        raise ValueError(f'the assigner needs {name} in the PriorInfo')
    return value


def inside(points: Tensor, bboxes: Tensor) -> Tensor:
    """(M, K) bool: points (M, K, 2) at least a hundredth of a pixel inside boxes (K, 4)."""
    margins = torch.cat([points - bboxes[:, :2], bboxes[:, 2:] - points], dim=-1)
    return margins.amin(-1) > 0.01


def strongest_claims(candidates: Tensor, positive: Tensor, overlaps: Tensor) -> tuple[Tensor, Tensor]:
    """Give a prior that is a positive candidate of several ground truths to the one that it overlaps most.

    Args:
        candidates: (M, K) priors, by index, of each ground truth.
        positive: (M, K) bool.
        overlaps: (N, K) of priors and ground truths.

    Returns:
        (N,) overlap with the ground truth of each prior, -inf for those that none claims, and (N,) its index.
    """
    claims = torch.full_like(overlaps, -float('inf'))
    claims.scatter_(0, candidates, torch.where(positive, overlaps.gather(0, candidates), -float('inf')))
    best, best_gt = claims.max(dim=1)
    return best, best_gt


def cheapest_predictions(cost: Tensor, ious: Tensor, topk: int) -> Tensor:
    """(N, K) bool: the cheapest predictions of each ground truth, as many as the sum of its `topk` greatest IoUs.

    A prediction that is among the cheapest of several goes to the one for which it costs least. See arXiv:2107.08430.

    Args:
        cost: (N, K) of predictions and ground truths.
        ious: (N, K).
        topk: at least 1.
    """
    best_ious = ious.topk(min(topk, len(ious)), dim=0).values
    num_positives = best_ious.sum(0).int().clamp(min=1).tolist()
    matching = torch.zeros_like(cost, dtype=torch.bool)
    for gt, num in enumerate(num_positives):
        matching[cost[:, gt].topk(num, largest=False).indices, gt] = True
    ambiguous = matching.sum(1) > 1
    matching[ambiguous] = one_hot(cost[ambiguous].argmin(1), cost.shape[1]).bool()
    return matching
