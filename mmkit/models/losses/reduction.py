"""Base of losses, and the reduction from the loss of each element to one number."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from mmkit.errors import InvalidValueError

REDUCTIONS = ('none', 'mean', 'sum')
_EPS = torch.finfo(torch.float32).eps


def weight_reduce_loss(
    loss: Tensor,
    weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    """Weight the elements, then average or sum them.

    Args:
        loss: of each element, any shape.
        weight: broadcast to `loss`.
        reduction: 'none', 'mean' or 'sum'.
        avg_factor: divides the sum, instead of the number of elements, when `reduction` is 'mean'.

    Raises:
        ValueError: for an unknown reduction, or an `avg_factor` with 'sum'.
    """
    check_reduction(reduction)
    if weight is not None:
        loss = loss * weight
    if reduction == 'none':
        return loss
    if reduction == 'sum':
        if avg_factor is not None:
            raise ValueError("avg_factor divides a mean; it has no meaning with reduction 'sum'")
        return loss.sum()
    # eps: the number of positives may be 0.
    return loss.mean() if avg_factor is None else loss.sum() / (avg_factor + _EPS)


def check_reduction(reduction: str) -> None:
    if reduction not in REDUCTIONS:
        raise InvalidValueError(f'reduction must be one of {", ".join(REDUCTIONS)}, got {reduction!r}', key='reduction')


class Loss(nn.Module):
    """Base of losses. Heads read its class attributes, which subclasses inherit.

    Args:
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: factor on the loss.

    Attributes:
        use_sigmoid: predictions are logits of independent classes, without one for the background.
        dense: easy examples are weighed down by the loss itself, so it wants all priors, not a sample of them.
        per_level: the loss keeps statistics over the elements of a call, and is called once for each pyramid level.
    """

    use_sigmoid: bool = False
    dense: bool = False
    per_level: bool = False

    def __init__(self, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__()
        check_reduction(reduction)
        self.reduction = reduction
        self.loss_weight = loss_weight

    def reduce(
        self,
        loss: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """`weight_reduce_loss` with the reduction of this loss, or another for this call, times `loss_weight`."""
        return self.loss_weight * weight_reduce_loss(loss, weight, reduction_override or self.reduction, avg_factor)


class ElementwiseLoss(Loss):
    """Base of losses with one value for each element, or row, of the predictions; 0 if there are none."""

    @abstractmethod
    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """Losses before they are weighted and reduced."""

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        if not pred.numel():
            return pred.sum() * 0
        return self.reduce(self.elements(pred, target), weight, avg_factor, reduction_override)


@runtime_checkable
class _SaysSigmoid(Protocol):
    use_sigmoid: bool


def uses_sigmoid(loss: nn.Module) -> bool:
    """True for a loss on logits of independent classes. A loss that is no `Loss` may have the attribute, too."""
    return isinstance(loss, _SaysSigmoid) and bool(loss.use_sigmoid)


def is_dense(loss: nn.Module) -> bool:
    """True for a loss that wants all priors, not a sample of them."""
    return isinstance(loss, Loss) and loss.dense


def loss_by_level(
    loss: nn.Module,
    levels: Tensor,
    pred: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    """Loss of M predictions, in one call; or the sum of a call for each level, if `loss.per_level`.

    Args:
        levels: (M,) the pyramid level of each prediction.
        pred, target, weight: (M, ...) as `loss` takes them.
    """
    if not (isinstance(loss, Loss) and loss.per_level):
        value: Tensor = loss(pred, target, weight, avg_factor=avg_factor)
        return value
    total = pred.sum() * 0  # with a gradient, even if there are no predictions
    for level in levels.unique():
        rows = levels == level
        level_weight = None if weight is None else weight[rows]
        total = total + loss(pred[rows], target[rows], level_weight, avg_factor=avg_factor)
    return total


def all_zero(weight: Tensor | None, reduction: str) -> bool:
    """True if no element counts: IoUs of arbitrary boxes may not even be finite then."""
    return weight is not None and reduction != 'none' and not bool((weight > 0).any())


def rows_to(weight: Tensor, loss: Tensor) -> Tensor:
    """A weight for every row or every element, shaped to multiply `loss` (N, C)."""
    if weight.shape == loss.shape:
        return weight
    if len(weight) == len(loss) and weight.numel() == len(loss):
        return weight.view(-1, 1)
    if weight.numel() == loss.numel():
        return weight.view_as(loss)
    raise ValueError(f'weight of shape {tuple(weight.shape)} does not fit a loss of shape {tuple(loss.shape)}')


def one_hot(labels: Tensor, num_classes: int) -> Tensor:
    """(N, C) float from labels (N,); those outside 0 .. C - 1, such as the background, give a row of zeros."""
    return (labels[:, None] == torch.arange(num_classes, device=labels.device)).float()


def require_sigmoid(use_sigmoid: bool, name: str) -> None:
    if not use_sigmoid:
        raise InvalidValueError(f'{name} is defined on sigmoids: use_sigmoid=False is not supported', key='use_sigmoid')


def as_class_weight(values: Sequence[float] | Tensor | None, like: Tensor) -> Tensor | None:
    """(C,) on the device and with the type of `like`."""
    return None if values is None else torch.as_tensor(values, dtype=like.dtype, device=like.device)
