"""Seesaw loss, for long-tailed class distributions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmkit.errors import InvalidValueError
from mmkit.models.losses.accuracy import accuracy
from mmkit.models.losses.reduction import Loss, one_hot
from mmkit.registry import LOSSES


@LOSSES.register_module()
class SeesawLoss(Loss):
    """Cross entropy in which frequent classes punish rare ones less (arXiv:2008.10032).

    A head gives C + 2 logits: those of the classes, then object and background. `state_dict` holds `cum_samples`,
    how often each class and the background were seen.

    Args:
        use_sigmoid: only False is defined.
        p: power of the ratio of frequencies; 0: none.
        q: power of the ratio of scores; 0: none.
        num_classes: C.
        eps: least score to divide by.
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: factor on the loss.
        return_dict: give the losses of classes and objectness apart, or their sum.
    """

    cum_samples: Tensor

    def __init__(
        self,
        use_sigmoid: bool = False,
        p: float = 0.8,
        q: float = 2.0,
        num_classes: int = 1203,
        eps: float = 1e-2,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        return_dict: bool = True,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if use_sigmoid:
            raise InvalidValueError(
                'SeesawLoss is defined on softmax: use_sigmoid=True is not supported', key='use_sigmoid'
            )
        self.use_sigmoid = False
        self.p = p
        self.q = q
        self.num_classes = num_classes
        self.eps = eps
        self.return_dict = return_dict
        self.register_buffer('cum_samples', torch.zeros(num_classes + 1))

    def get_cls_channels(self, num_classes: int) -> int:
        """Logits that a head for `num_classes` must give."""
        self._check(num_classes)
        return num_classes + 2

    def get_activation(self, cls_score: Tensor) -> Tensor:
        """(N, C + 1) probabilities, background last, from logits (N, C + 2)."""
        classes, objectness = self._split(cls_score)
        objectness = objectness.softmax(-1)
        return torch.cat([classes.softmax(-1) * objectness[:, :1], objectness[:, 1:]], dim=-1)

    def get_accuracy(self, cls_score: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Percentages of right objectness, and of right classes among the objects."""
        classes, objectness = self._split(cls_score)
        positive = labels < self.num_classes
        return {
            'acc_objectness': accuracy(objectness, (~positive).long()),
            'acc_classes': accuracy(classes[positive], labels[positive]),
        }

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> dict[str, Tensor] | Tensor:
        """`pred` (N, C + 2), `target` (N,) labels with C for the background, `weight` (N,)."""
        classes, objectness = self._split(pred)
        self.cum_samples += torch.bincount(target, minlength=self.num_classes + 1)
        weight = pred.new_ones(len(pred)) if weight is None else weight.float()
        positive = target < self.num_classes
        of_objectness = F.cross_entropy(objectness, (~positive).long(), reduction='none')
        losses = {'loss_cls_objectness': self.reduce(of_objectness, weight, avg_factor, reduction_override)}
        if positive.any():
            of_classes = self._seesaw(classes[positive], target[positive])
            losses['loss_cls_classes'] = self.reduce(of_classes, weight[positive], avg_factor, reduction_override)
        else:
            losses['loss_cls_classes'] = classes.sum() * 0
        return losses if self.return_dict else losses['loss_cls_classes'] + losses['loss_cls_objectness']

    def _seesaw(self, classes: Tensor, labels: Tensor) -> Tensor:
        """(P,) cross entropy with the factors of the other classes."""
        factors = torch.ones_like(classes)
        if self.p > 0:
            seen = self.cum_samples[: self.num_classes].clamp(min=1)
            ratio = seen[None, :] / seen[labels][:, None]  # (P, C)
            factors = factors * ratio.clamp(max=1) ** self.p
        if self.q > 0:
            scores = classes.detach().softmax(dim=1)
            own = scores.gather(1, labels[:, None]).clamp(min=self.eps)
            factors = factors * (scores / own).clamp(min=1) ** self.q
        others = 1 - one_hot(labels, self.num_classes)
        return F.cross_entropy(classes + factors.log() * others, labels, reduction='none')

    def _split(self, cls_score: Tensor) -> tuple[Tensor, Tensor]:
        self._check(cls_score.shape[-1] - 2)
        return cls_score[..., :-2], cls_score[..., -2:]

    def _check(self, num_classes: int) -> None:
        if num_classes != self.num_classes:
            raise InvalidValueError(
                f'num_classes of SeesawLoss is {self.num_classes}, but the head has {num_classes}', key='num_classes'
            )
