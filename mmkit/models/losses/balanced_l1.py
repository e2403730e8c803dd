"""Balanced L1 loss."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mmkit.errors import InvalidValueError
from mmkit.models.losses.reduction import ElementwiseLoss
from mmkit.registry import LOSSES


@LOSSES.register_module()
class BalancedL1Loss(ElementwiseLoss):
    """Smooth L1 in which accurate boxes keep more of the gradient (Libra R-CNN, arXiv:1904.02701).

    Args:
        alpha: the smaller, the more gradient for accurate boxes.
        gamma: upper bound of the gradient.
        beta: from this difference on the loss is linear.
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: factor on the loss.
    """

    def __init__(
        self,
        alpha: float = 0.5,
        gamma: float = 1.5,
        beta: float = 1.0,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if beta <= 0:
            raise InvalidValueError(f'beta of BalancedL1Loss must be above 0, got {beta}', key='beta')
        self.alpha = alpha
        self.gamma = gamma
        self.beta = beta

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        diff = (pred - target).abs()
        b = math.exp(self.gamma / self.alpha) - 1  # makes the two branches meet with the same slope
        inlier = self.alpha / b * (b * diff + 1) * (b * diff / self.beta + 1).log() - self.alpha * diff
        outlier = self.gamma * diff + self.gamma / b - self.alpha * self.beta
        return torch.where(diff < self.beta, inlier, outlier)
