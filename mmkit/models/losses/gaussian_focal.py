"""Focal loss on heat maps."""

from __future__ import annotations

from torch import Tensor

from mmkit.models.losses.reduction import ElementwiseLoss
from mmkit.registry import LOSSES


@LOSSES.register_module()
class GaussianFocalLoss(ElementwiseLoss):
    """Focal loss with fewer penalties around the peaks of a Gaussian heat map (arXiv:1808.01244).

    `pred` are probabilities of any shape, `target` of the same shape is 1 at the objects and falls off around them.

    Args:
        alpha: power of the wrong probability.
        gamma: power of 1 - target that lowers the loss near a peak.
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: factor on the loss.
    """

    def __init__(
        self, alpha: float = 2.0, gamma: float = 4.0, reduction: str = 'mean', loss_weight: float = 1.0
    ) -> None:
        super().__init__(reduction, loss_weight)
        self.alpha = alpha
        self.gamma = gamma

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        eps = 1e-12
        at_peak = -(pred + eps).log() * (1 - pred) ** self.alpha * target.eq(1)
        elsewhere = -(1 - pred + eps).log() * pred**self.alpha * (1 - target) ** self.gamma
        return at_peak + elsewhere
