"""Regression losses: L1, smooth L1, mean squared error."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mmkit.errors import InvalidValueError
from mmkit.models.losses.reduction import Loss
from mmkit.registry import LOSSES


@LOSSES.register_module()
class L1Loss(Loss):
    """|pred - target|.

    Args:
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: factor on the outcome.
    """

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        if not target.numel():
            return pred.sum() * 0
        return self.reduce((pred - target).abs(), weight, avg_factor, reduction_override)


@LOSSES.register_module()
class SmoothL1Loss(Loss):
    """Quadratic below `beta`, linear above (arXiv:1504.08083).

    Args:
        beta: where the parabola meets the line; above 0.
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: factor on the outcome.
    """

    def __init__(self, beta: float = 1.0, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        if beta <= 0:
            raise InvalidValueError(f'beta of SmoothL1Loss must be above 0, got {beta}', key='beta')
        self.beta = beta

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        if not target.numel():
            return pred.sum() * 0
        loss = F.smooth_l1_loss(pred, target, reduction='none', beta=self.beta)
        return self.reduce(loss, weight, avg_factor, reduction_override)


@LOSSES.register_module()
class MSELoss(Loss):
    """(pred - target)².

    Args:
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: factor on the outcome.
    """

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        if not target.numel():
            return pred.sum() * 0
        return self.reduce((pred - target) ** 2, weight, avg_factor, reduction_override)
