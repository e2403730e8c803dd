"""Cross entropy with softened targets."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmkit.errors import InvalidValueError
from mmkit.models.losses.reduction import Loss, one_hot
from mmkit.registry import LOSSES

MODES = ('original', 'classy_vision', 'multi_label')


@LOSSES.register_module()
class LabelSmoothLoss(Loss):
    """Cross entropy with a target that leaves some probability to the other classes (arXiv:1512.00567).

    `pred` (N, C) logits, `target` (N,) labels or (N, C) with 1 for the classes of the row, `weight` (N,).

    Args:
        label_smooth_val: the share s that is taken from the class, 0 <= s < 1.
        num_classes: C, for a check; None takes that of `pred`.
        mode: 'original' divides s evenly among all classes; 'classy_vision' does so with s / (1 + s), which is adding
            s / C to every class and normalising; 'multi_label' has targets 1 - s and s and a sigmoid for every class,
            whose losses are added by an `avg_factor` of N.
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: factor on the loss.

    Raises:
        ValueError: if s or the mode is none of these, or C is another than `num_classes`.
    """

    def __init__(
        self,
        label_smooth_val: float,
        num_classes: int | None = None,
        mode: str = 'original',
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if not 0 <= label_smooth_val < 1:
            raise InvalidValueError(
                f'label_smooth_val of LabelSmoothLoss is from 0 to below 1, got {label_smooth_val}',
                key='label_smooth_val',
            )
        if mode not in MODES:
            raise InvalidValueError(f'mode of LabelSmoothLoss is one of {", ".join(MODES)}, got {mode!r}', key='mode')
        self.label_smooth_val = label_smooth_val
        self.num_classes = num_classes
        self.mode = mode

    def soften(self, target: Tensor, num_classes: int) -> Tensor:
        """(N,) or (N, C) -> (N, C)."""
        target = one_hot(target, num_classes) if target.ndim == 1 else target.float()
        share = self.label_smooth_val
        if self.mode == 'multi_label':
            return torch.where(target > 0, 1 - share, share)
        share = share / (1 + share) if self.mode == 'classy_vision' else share
        return target * (1 - share) + share / num_classes

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        num_classes = pred.shape[1]
        if self.num_classes not in (None, num_classes):
            raise InvalidValueError(
                f'LabelSmoothLoss has num_classes={self.num_classes}, the predictions have {num_classes}',
                key='num_classes',
            )
        soft = self.soften(target, num_classes)  # (N, C)
        if self.mode == 'multi_label':
            loss = F.binary_cross_entropy_with_logits(pred, soft, reduction='none')  # (N, C)
            weight = None if weight is None else weight[:, None]
        else:
            loss = -(soft * pred.log_softmax(dim=1)).sum(dim=1)  # (N,)
        return self.reduce(loss, weight, avg_factor, reduction_override)
