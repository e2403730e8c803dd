"""Cross entropy: softmax, sigmoid, and of one mask channel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmkit.errors import InvalidValueError
from mmkit.models.losses.reduction import Loss, as_class_weight, one_hot
from mmkit.registry import LOSSES


@LOSSES.register_module()
class CrossEntropyLoss(Loss):
    """Cross entropy in three forms.

    Softmax (default): `pred` (N, C, ...) logits, `target` (N, ...) labels, `weight` (N, ...).
    Sigmoid (`use_sigmoid`): `pred` (N, C) logits, `target` (N,) labels, C standing for the background, or (N, C)
    with values 0 .. 1; `weight` (N,), or (N, C) with such a target.
    Mask (`use_mask`): `pred` (N, C, h, w) logits, `target` (N, h, w) with values 0 .. 1, and in the place of `weight`
    the labels (N,): of each object only the channel of its class counts. Always the mean over all pixels.

    Args:
        use_sigmoid: the second form.
        use_mask: the third form.
        reduction: 'none', 'mean' or 'sum'.
        class_weight: (C,) factors on the classes (softmax), or on their positives (sigmoid).
        ignore_index: elements with this label are ignored; None: -100.
        loss_weight: factor on the loss.
        avg_non_ignore: average over the elements that are not ignored, unless `avg_factor` is given.
    """

    def __init__(
        self,
        use_sigmoid: bool = False,
        use_mask: bool = False,
        reduction: str = 'mean',
        class_weight: Sequence[float] | Tensor | None = None,
        ignore_index: int | None = None,
        loss_weight: float = 1.0,
        avg_non_ignore: bool = False,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if use_sigmoid and use_mask:
            raise InvalidValueError('use_sigmoid and use_mask exclude each other', key='use_mask')
        if use_mask and ignore_index is not None:
            raise InvalidValueError(f'ignore_index={ignore_index} is not supported with use_mask', key='ignore_index')
        self.use_sigmoid = use_sigmoid
        self.use_mask = use_mask
        self.class_weight = class_weight
        self.ignore_index = -100 if ignore_index is None else ignore_index
        self.avg_non_ignore = avg_non_ignore

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        class_weight = as_class_weight(self.class_weight, pred)
        reduction = reduction_override or self.reduction
        if self.use_mask:
            if weight is None:
                raise ValueError('with use_mask the third argument is the labels (N,)')
            if reduction != 'mean' or avg_factor is not None:
                raise InvalidValueError(
                    f'with use_mask the loss is the mean; got {reduction=}, {avg_factor=}', key='reduction'
                )
            return self.loss_weight * _mask(pred, target, weight, class_weight)
        if self.use_sigmoid:
            loss, weight, counted = self._sigmoid(pred, target, weight, class_weight)
        else:
            loss = F.cross_entropy(pred, target, class_weight, reduction='none', ignore_index=self.ignore_index)
            weight = None if weight is None else weight.float()
            counted = target != self.ignore_index
        if avg_factor is None and self.avg_non_ignore and reduction == 'mean':
            avg_factor = counted.sum()
        elif avg_factor is None and not loss.numel() and reduction == 'mean':
            return pred.sum() * 0
        return self.reduce(loss, weight, avg_factor, reduction)

    def _sigmoid(
        self, pred: Tensor, target: Tensor, weight: Tensor | None, class_weight: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, weight and mask of the elements that are not ignored, all of the shape of `pred`."""
        counted = (target >= 0) & (target != self.ignore_index)
        if target.ndim != pred.ndim:
            counted = counted.view(-1, 1).expand_as(pred)
            weight = None if weight is None else weight.view(-1, 1)
            # With ignore_index below C the label must not become a positive, even though its weight is 0.
            target = one_hot(torch.where(target == self.ignore_index, -1, target), pred.shape[-1])
        weight = counted.float() if weight is None else weight * counted
        loss = F.binary_cross_entropy_with_logits(pred, target.float(), pos_weight=class_weight, reduction='none')
        return loss, weight, counted


def _mask(pred: Tensor, target: Tensor, labels: Tensor, class_weight: Tensor | None) -> Tensor:
    if not len(pred):
        return pred.sum() * 0
    of_class = pred[torch.arange(len(pred), device=pred.device), labels]  # (N, h, w)
    return F.binary_cross_entropy_with_logits(of_class, target, weight=class_weight)
