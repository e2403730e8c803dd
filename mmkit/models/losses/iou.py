"""Losses on the overlap of boxes: pred (N, 4) and target (N, 4) xyxy, weight (N,) or (N, 4)."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor

from mmkit.bbox import bbox_overlaps
from mmkit.errors import InvalidValueError
from mmkit.models.losses.reduction import Loss, all_zero
from mmkit.registry import LOSSES


class _OverlapLoss(Loss):
    """One value a box, from row i of pred and of target.

    Args:
        eps: keeps denominators away from 0.
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: factor on the loss.
    """

    def __init__(self, eps: float = 1e-6, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        self.eps = eps

    @abstractmethod
    def of_boxes(self, pred: Tensor, target: Tensor) -> Tensor:
        """(N,)"""

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """The four weights of a box are averaged."""
        if not len(pred) or all_zero(weight, reduction_override or self.reduction):
            return pred.sum() * 0
        if weight is not None and weight.ndim > 1:
            weight = weight.mean(-1)
        return self.reduce(self.of_boxes(pred, target), weight, avg_factor, reduction_override)


@LOSSES.register_module()
class IoULoss(_OverlapLoss):
    """1 - IoU, 1 - IoU² or -log IoU (arXiv:1608.01471).

    Args:
        linear: older spelling of `mode='linear'`.
        eps: IoUs are at least this.
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: factor on the loss.
        mode: 'linear', 'square' or 'log'.
    """

    def __init__(
        self,
        linear: bool = False,
        eps: float = 1e-6,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        mode: str = 'log',
    ) -> None:
        super().__init__(eps, reduction, loss_weight)
        self.mode = 'linear' if linear else mode
        if self.mode not in ('linear', 'square', 'log'):
            raise InvalidValueError(f"mode of IoULoss must be 'linear', 'square' or 'log', got {mode!r}", key='mode')

    def of_boxes(self, pred: Tensor, target: Tensor) -> Tensor:
        ious = bbox_overlaps(pred, target, is_aligned=True).clamp(min=self.eps)
        if self.mode == 'linear':
            return 1 - ious
        return 1 - ious**2 if self.mode == 'square' else -ious.log()


@LOSSES.register_module()
class GIoULoss(_OverlapLoss):
    """1 - generalised IoU (arXiv:1902.09630).

    Args:
        eps: areas are at least this.
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: factor on the loss.
    """

    def of_boxes(self, pred: Tensor, target: Tensor) -> Tensor:
        return 1 - bbox_overlaps(pred, target, mode='giou', is_aligned=True, eps=self.eps)


@LOSSES.register_module()
class DIoULoss(_OverlapLoss):
    """1 - IoU, plus the distance of the centres in units of the diagonal of the hull (arXiv:1911.08287).

    Args:
        eps: added to denominators.
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: factor on the loss.
    """

    def of_boxes(self, pred: Tensor, target: Tensor) -> Tensor:
        ious, distance = _iou_and_distance(pred, target, self.eps)
        return 1 - (ious - distance)


@LOSSES.register_module()
class CIoULoss(_OverlapLoss):
    """`DIoULoss`, plus the difference of the aspect ratios where boxes overlap enough (arXiv:2005.03572).

    Args:
        eps: added to denominators.
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: factor on the loss.
    """

    def of_boxes(self, pred: Tensor, target: Tensor) -> Tensor:
        ious, distance = _iou_and_distance(pred, target, self.eps)
        angle, target_angle = (
            torch.atan((boxes[:, 2] - boxes[:, 0]) / (boxes[:, 3] - boxes[:, 1] + self.eps)) for boxes in (pred, target)
        )
        aspect = 4 / math.pi**2 * (target_angle - angle) ** 2
        with torch.no_grad():
            # eps: a perfect box would be 0 / 0.
            alpha = (ious > 0.5).float() * aspect / (1 - ious + aspect).clamp(min=self.eps)
        return 1 - (ious - (distance + alpha * aspect)).clamp(-1.0, 1.0)


@LOSSES.register_module()
class BoundedIoULoss(Loss):
    """Smooth L1 on the IoU that each of x, y, w, h would allow if the others were right (arXiv:1711.00164).

    The loss has four values a box; `weight` is (N, 4).

    Args:
        beta: of smooth L1.
        eps: added to denominators.
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: factor on the loss.
    """

    def __init__(self, beta: float = 0.2, eps: float = 1e-3, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        self.beta = beta
        self.eps = eps

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        if not len(pred) or all_zero(weight, reduction_override or self.reduction):
            return pred.sum() * 0
        center, size = (pred[:, :2] + pred[:, 2:]) * 0.5, pred[:, 2:] - pred[:, :2]
        target_center, target_size = (target[:, :2] + target[:, 2:]) * 0.5, target[:, 2:] - target[:, :2]
        offset = 2 * (target_center - center).abs()
        of_center = 1 - ((target_size - offset) / (target_size + offset + self.eps)).clamp(min=0)
        of_size = 1 - torch.minimum(target_size / (size + self.eps), size / (target_size + self.eps))
        diff = torch.cat([of_center, of_size], dim=1)  # (N, 4)
        loss = torch.where(diff < self.beta, 0.5 * diff**2 / self.beta, diff - 0.5 * self.beta)
        return self.reduce(loss, weight, avg_factor, reduction_override)


def _iou_and_distance(pred: Tensor, target: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """(N,) IoU, and squared distance of the centres over the squared diagonal of the hull."""
    overlap = (torch.minimum(pred[:, 2:], target[:, 2:]) - torch.maximum(pred[:, :2], target[:, :2])).clamp(min=0)
    overlap = overlap.prod(dim=1)
    area = (pred[:, 2] - pred[:, 0]) * (pred[:, 3] - pred[:, 1])
    target_area = (target[:, 2] - target[:, 0]) * (target[:, 3] - target[:, 1])
    ious = overlap / (area + target_area - overlap + eps)
    hull = (torch.maximum(pred[:, 2:], target[:, 2:]) - torch.minimum(pred[:, :2], target[:, :2])).clamp(min=0)
    between = (target[:, :2] + target[:, 2:]) - (pred[:, :2] + pred[:, 2:])  # twice the way between centres
    return ious, (between**2).sum(1) / 4 / ((hull**2).sum(1) + eps)
