"""Knowledge distillation."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mmkit.errors import InvalidValueError
from mmkit.models.losses.reduction import ElementwiseLoss
from mmkit.registry import LOSSES


@LOSSES.register_module()
class KnowledgeDistillationKLDivLoss(ElementwiseLoss):
    """Kullback-Leibler divergence from the softened distribution of a teacher (arXiv:1503.02531).

    `pred` and `target` (N, C) logits; the teacher gets no gradient; `weight` (N,).

    Args:
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: factor on the loss.
        T: temperature, at least 1.
    """

    def __init__(self, reduction: str = 'mean', loss_weight: float = 1.0, T: int = 10) -> None:
        super().__init__(reduction, loss_weight)
        if T < 1:
            raise InvalidValueError(f'T of KnowledgeDistillationKLDivLoss must be at least 1, got {T}', key='T')
        self.T = T

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        teacher = (target.detach() / self.T).softmax(1)
        student = (pred / self.T).log_softmax(1)
        # Gradients shrink by T² through the two divisions.
        return F.kl_div(student, teacher, reduction='none').mean(1) * self.T**2
