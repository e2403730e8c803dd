"""Regression losses: L1, smooth L1, mean squared error."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mmkit.errors import InvalidValueError
from mmkit.models.losses.reduction import ElementwiseLoss
from mmkit.registry import LOSSES


@LOSSES.register_module()
class L1Loss(ElementwiseLoss):
    """|pred - target|.

    Args:
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: factor on the loss.
    """

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        return (pred - target).abs()


@LOSSES.register_module()
class SmoothL1Loss(ElementwiseLoss):
    """Quadratic below `beta`, linear above (arXiv:1504.08083).

    Args:
        beta: where the parabola meets the line; above 0.
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: factor on the loss.
    """

    def __init__(self, beta: float = 1.0, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        if beta <= 0:
            raise InvalidValueError(f'beta of SmoothL1Loss must be above 0, got {beta}', key='beta')
        self.beta = beta

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        return F.smooth_l1_loss(pred, target, reduction='none', beta=self.beta)


@LOSSES.register_module()
class MSELoss(ElementwiseLoss):
    """(pred - target)².

    Args:
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: factor on the loss.
    """

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        return (pred - target) ** 2
