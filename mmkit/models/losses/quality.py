"""Classification losses whose targets are the quality of the box."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmkit.errors import InvalidValueError
from mmkit.models.losses.reduction import ElementwiseLoss, Loss, one_hot, require_sigmoid
from mmkit.registry import LOSSES


@LOSSES.register_module()
class QualityFocalLoss(Loss):
    """Binary cross entropy towards the IoU of the box, weighted by the distance from it (arXiv:2006.04388).

    `pred` (N, C) logits; `target` a pair of labels (N,), C standing for the background, and qualities (N,) in 0 .. 1;
    `weight` (N,).

    Args:
        use_sigmoid: only True is defined.
        beta: power of the distance.
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: factor on the loss.
        activated: `pred` are probabilities already.
    """

    dense = True

    def __init__(
        self,
        use_sigmoid: bool = True,
        beta: float = 2.0,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        activated: bool = False,
    ) -> None:
        super().__init__(reduction, loss_weight)
        require_sigmoid(use_sigmoid, 'QualityFocalLoss')
        self.use_sigmoid = use_sigmoid
        self.beta = beta
        self.activated = activated

    def forward(
        self,
        pred: Tensor,
        target: tuple[Tensor, Tensor],
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        labels, quality = target
        wanted = one_hot(labels, pred.shape[1]).to(pred) * quality[:, None]  # (N, C)
        probs = pred if self.activated else pred.sigmoid()
        entropy = F.binary_cross_entropy if self.activated else F.binary_cross_entropy_with_logits
        loss = entropy(pred, wanted, reduction='none') * (wanted - probs).abs() ** self.beta
        return self.reduce(loss.sum(1), weight, avg_factor, reduction_override)


@LOSSES.register_module()
class DistributionFocalLoss(ElementwiseLoss):
    """Cross entropy with the two integers around a real target, weighted by nearness (arXiv:2006.04388).

    `pred` (N, n + 1) logits of the values 0 .. n; `target` (N,) real, 0 <= target < n; `weight` (N,).

    Args:
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: factor on the loss.
    """

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        left = target.long()
        right = left + 1
        loss = F.cross_entropy(pred, left, reduction='none') * (right - target)
        return loss + F.cross_entropy(pred, right, reduction='none') * (target - left)


@LOSSES.register_module()
class VarifocalLoss(ElementwiseLoss):
    """Negatives weighted down as by focal loss, positives weighted by their IoU (arXiv:2008.13367).

    `pred` (N, C) logits; `target` (N, C): the IoU at the right class of positives, 0 elsewhere; `weight` broadcasts.

    Args:
        use_sigmoid: only True is defined.
        alpha: weight of negatives.
        gamma: power of the probability of negatives.
        iou_weighted: weight positives by their IoU, or all by 1.
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: factor on the loss.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        alpha: float = 0.75,
        gamma: float = 2.0,
        iou_weighted: bool = True,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        require_sigmoid(use_sigmoid, 'VarifocalLoss')
        self.use_sigmoid = use_sigmoid
        if alpha < 0:
            raise InvalidValueError(f'alpha of VarifocalLoss must not be negative, got {alpha}', key='alpha')
        self.alpha = alpha
        self.gamma = gamma
        self.iou_weighted = iou_weighted

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        target = target.to(pred)
        positive = target > 0
        of_negatives = self.alpha * (pred.sigmoid() - target).abs() ** self.gamma
        of_positives = target if self.iou_weighted else torch.ones_like(target)
        focus = torch.where(positive, of_positives, of_negatives)
        return F.binary_cross_entropy_with_logits(pred, target, reduction='none') * focus
