"""Focal loss."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mmkit.models.losses.reduction import Loss, one_hot, require_sigmoid, rows_to
from mmkit.registry import LOSSES


@LOSSES.register_module()
class FocalLoss(Loss):
    """Binary cross entropy of each class, with easy examples weighted down (arXiv:1708.02002).

    `pred` (N, C) logits, `target` (N,) labels, C standing for the background, or (N, C) with values 0 or 1;
    `weight` (N,) or (N, C).

    Args:
        use_sigmoid: only True is defined.
        gamma: the greater, the less easy examples count.
        alpha: weight of positives, 1 - alpha of negatives.
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: factor on the loss.
        activated: `pred` are probabilities already.
    """

    dense = True

    def __init__(
        self,
        use_sigmoid: bool = True,
        gamma: float = 2.0,
        alpha: float = 0.25,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        activated: bool = False,
    ) -> None:
        super().__init__(reduction, loss_weight)
        require_sigmoid(use_sigmoid, 'FocalLoss')
        self.use_sigmoid = use_sigmoid
        self.gamma = gamma
        self.alpha = alpha
        self.activated = activated

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        if target.ndim != pred.ndim:
            target = one_hot(target, pred.shape[1])
        target = target.to(pred)
        probs = pred if self.activated else pred.sigmoid()
        missing = (1 - probs) * target + probs * (1 - target)  # probability of the wrong answer
        focus = (self.alpha * target + (1 - self.alpha) * (1 - target)) * missing**self.gamma
        entropy = F.binary_cross_entropy if self.activated else F.binary_cross_entropy_with_logits
        loss = entropy(pred, target, reduction='none') * focus
        weight = None if weight is None else rows_to(weight, loss)
        return self.reduce(loss, weight, avg_factor, reduction_override)
