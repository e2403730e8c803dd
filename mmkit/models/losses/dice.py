"""Dice loss."""

from __future__ import annotations

from torch import Tensor

from mmkit.errors import InvalidValueError
from mmkit.models.losses.reduction import ElementwiseLoss
from mmkit.registry import LOSSES


@LOSSES.register_module()
class DiceLoss(ElementwiseLoss):
    """1 - Dice overlap of masks (arXiv:1606.04797): `pred` and `target` (N, ...), `weight` (N,).

    Args:
        use_sigmoid: the only activation there is.
        activate: whether `pred` are logits.
        reduction: 'none', 'mean' or 'sum'.
        naive_dice: sums instead of sums of squares in the denominator.
        loss_weight: factor on the loss.
        eps: keeps the denominator away from 0.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        activate: bool = True,
        reduction: str = 'mean',
        naive_dice: bool = False,
        loss_weight: float = 1.0,
        eps: float = 1e-3,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if activate and not use_sigmoid:
            raise InvalidValueError(
                'DiceLoss has no activation but the sigmoid: use_sigmoid=False needs activate=False', key='use_sigmoid'
            )
        self.activate = activate
        self.naive_dice = naive_dice
        self.eps = eps

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        masks = (pred.sigmoid() if self.activate else pred).flatten(1)  # (N, pixels)
        target = target.flatten(1).float()
        common = (masks * target).sum(1)
        if self.naive_dice:
            dice = (2 * common + self.eps) / (masks.sum(1) + target.sum(1) + self.eps)
        else:
            dice = 2 * common / ((masks**2).sum(1) + self.eps + (target**2).sum(1) + self.eps)
        return 1 - dice
