"""Focal loss on heat maps."""

from __future__ import annotations

from torch import Tensor

from mmkit.models.losses.reduction import Loss
from mmkit.registry import LOSSES


@LOSSES.register_module()
class GaussianFocalLoss(Loss):
    """Focal loss with fewer penalties around the peaks of a Gaussian heat map (arXiv:1808.01244).

    Args:
        alpha: power of the wrong probability.
        gamma: power of 1 - target that lowers the loss near a peak.
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: factor on the loss.
        pos_weight, neg_weight: factors on the losses at the peaks and elsewhere.
    """

    def __init__(
        self,
        alpha: float = 2.0,
        gamma: float = 4.0,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        pos_weight: float = 1.0,
        neg_weight: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        self.alpha = alpha
        self.gamma = gamma
        self.pos_weight = pos_weight
        self.neg_weight = neg_weight

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
        peaks: Tensor | None = None,
    ) -> Tensor:
        """Loss of the probabilities `pred` (any shape).

        Args:
            pred: probabilities, of any shape.
            target: of the same shape, 1 at the objects and falling off around them.
            peaks: of the same shape, how often the loss at a peak counts; by default, once where `target` is 1.
        """
        if not pred.numel():
            return pred.sum() * 0
        eps = 1e-12
        peaks = target.eq(1) if peaks is None else peaks
        at_peak = -(pred + eps).log() * (1 - pred) ** self.alpha * peaks
        elsewhere = -(1 - pred + eps).log() * pred**self.alpha * (1 - target) ** self.gamma
        return self.reduce(
            self.pos_weight * at_peak + self.neg_weight * elsewhere, weight, avg_factor, reduction_override
        )
