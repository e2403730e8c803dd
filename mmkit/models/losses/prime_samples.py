"""Prime samples: examples weighted by their rank, arXiv:1904.04821."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import Self

from mmkit.bbox.ranks import ranks_in_groups
from mmkit.models.settings import known_settings
from mmkit.registry import Cfg, located


@dataclass(frozen=True)
class RankWeights:
    """`isr` or `carl` of a `train_cfg`: how weights fall off from the most important example.

    Attributes:
        k: power of the weights.
        bias: the least weight, before the power is taken.
    """

    k: float
    bias: float

    @classmethod
    def from_cfg(cls, cfg: Cfg | None, name: str, k: float, bias: float) -> Self | None:
        """Read the setting `name`, with defaults; None stands for none."""
        if cfg is None:
            return None
        with located(cfg):
            return cls(**known_settings({'k': k, 'bias': bias, **cfg}, cls, name))

    def __call__(self, importance: Tensor) -> Tensor:
        """Weights from importance 0 .. 1."""
        return (self.bias + (1 - self.bias) * importance) ** self.k


def isr_from(cfg: Cfg) -> RankWeights | None:
    """Importance-based sample reweighting in a `train_cfg`, if it asks for it."""
    return RankWeights.from_cfg(cfg.get('isr'), 'isr', k=2.0, bias=0.0)


def carl_from(cfg: Cfg) -> RankWeights | None:
    """Classification-aware regression loss in a `train_cfg`, if it asks for it."""
    return RankWeights.from_cfg(cfg.get('carl'), 'carl', k=1.0, bias=0.2)


def isr_weights(
    isr: RankWeights, ious: Tensor, labels: Tensor, objects: Tensor, weights: Tensor, losses: Tensor
) -> Tensor:
    """Weights (P,) of positives in the classification loss, whose sum stays as it was.

    Those of a class are ranked by their IoU: the best of every object first, then the second of every object, ...

    Args:
        isr: from ranks to weights.
        ious: (P,) of the predicted boxes with their objects.
        labels: (P,).
        objects: (P,) different numbers for different objects.
        weights: (P,) that they have otherwise.
        losses: (P,) of them without weights.
    """
    if not len(labels):
        return weights
    most = labels.bincount().max()
    hierarchical = ious + most - ranks_in_groups(ious, objects)
    importance = weights * (1 - ranks_in_groups(hierarchical, labels) / most)
    return preserving(isr(importance), weights, losses)


def carl_loss(carl: RankWeights, probabilities: Tensor, losses: Tensor) -> Tensor:
    """Sum of box losses, weighted by the probability of the class, which gets a gradient, too.

    Args:
        carl: from probabilities to weights.
        probabilities: (P,) of the class of each positive.
        losses: (P, ...) of the boxes.
    """
    if not len(probabilities):
        return probabilities.sum() + losses.sum()
    weights = carl(probabilities)
    weights = weights * (len(weights) / weights.sum())
    return (losses[:, None].flatten(1).sum(dim=1) * weights).sum()


def preserving(weights: Tensor, before: Tensor, losses: Tensor) -> Tensor:
    """`weights` (N,) with a factor, so that they weight `losses` (N,) to the same sum as the weights `before` did."""
    total = (losses * weights).sum().clamp(min=torch.finfo(torch.float32).tiny)
    return weights * ((losses * before).sum() / total)
