"""Sigmoid focal loss with class indices as targets."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def sigmoid_focal_loss(pred: Tensor, target: Tensor, gamma: float = 2.0, alpha: float = 0.25) -> Tensor:
    """Focal loss of every logit (arXiv:1708.02002), not reduced.

    Args:
        pred: (N, C) logits.
        target: (N,) class 0..C-1, or C for background.
        gamma: how much easy examples count less.
        alpha: weight of the positives; negatives have 1 - alpha.

    Returns:
        (N, C) losses.
    """
    num_classes = pred.shape[1]
    one_hot = F.one_hot(target, num_classes + 1)[:, :num_classes].to(pred.dtype)  # (N, C)
    probability = pred.sigmoid()
    miss = (1 - probability) * one_hot + probability * (1 - one_hot)
    weight = (alpha * one_hot + (1 - alpha) * (1 - one_hot)) * miss.pow(gamma)
    return weight * F.binary_cross_entropy_with_logits(pred, one_hot, reduction='none')
