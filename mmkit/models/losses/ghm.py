"""Gradient harmonising: examples of a common difficulty count less (arXiv:1811.05181)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmkit.models.losses.reduction import Loss, one_hot, require_sigmoid
from mmkit.registry import LOSSES


class _Harmonising(Loss):
    """Weights elements by the inverse density of the norms of their gradients.

    `state_dict` holds `edges` and, with momentum, the running counts `acc_sum`.
    """

    per_level = True
    edges: Tensor
    acc_sum: Tensor

    def __init__(self, bins: int, momentum: float, last_edge: float, reduction: str, loss_weight: float) -> None:
        super().__init__(reduction, loss_weight)
        self.bins = bins
        self.momentum = momentum
        edges = torch.arange(bins + 1).float() / bins
        edges[-1] = last_edge
        self.register_buffer('edges', edges)
        if momentum > 0:
            self.register_buffer('acc_sum', torch.zeros(bins))

    def density_weight(self, norms: Tensor, valid: Tensor, total: float) -> Tensor:
        """Weights of the shape of `norms`: `total` over the count of the bin, over the number of bins in use."""
        weights = torch.zeros_like(norms)
        used = 0
        for i in range(self.bins):
            inside = (norms >= self.edges[i]) & (norms < self.edges[i + 1]) & valid
            count = int(inside.sum())
            if not count:
                continue
            used += 1
            if self.momentum > 0:
                self.acc_sum[i] = self.momentum * self.acc_sum[i] + (1 - self.momentum) * count
                weights[inside] = total / self.acc_sum[i]
            else:
                weights[inside] = total / count
        return weights / max(used, 1)

    def finish(self, loss: Tensor, weights: Tensor, total: float, reduction_override: str | None) -> Tensor:
        """As `reduce`; a mean divides by `total`."""
        reduction = reduction_override or self.reduction
        return self.reduce(loss, weights, total if reduction == 'mean' else None, reduction)


@LOSSES.register_module()
class GHMC(_Harmonising):
    """Harmonised binary cross entropy.

    `pred` (N, C) logits, `target` (N,) labels, C standing for the background, or (N, C) with values 0 or 1; `weight`
    (N,) or (N, C), of which only the sign matters.

    Args:
        bins: of the norms of gradients.
        momentum: of the running counts; 0: none.
        use_sigmoid: only True is defined.
        loss_weight: factor on the loss.
        reduction: 'none', 'mean' or 'sum'.
    """

    dense = True

    def __init__(
        self,
        bins: int = 10,
        momentum: float = 0,
        use_sigmoid: bool = True,
        loss_weight: float = 1.0,
        reduction: str = 'mean',
    ) -> None:
        super().__init__(bins, momentum, 1 + 1e-6, reduction, loss_weight)
        require_sigmoid(use_sigmoid, 'GHMC')
        self.use_sigmoid = use_sigmoid

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """The loss divides by the number of valid elements itself: `avg_factor` has no effect."""
        if target.ndim != pred.ndim:
            target = one_hot(target, pred.shape[-1])
        target = target.float()
        if weight is None:
            valid = torch.ones_like(pred, dtype=torch.bool)
        else:
            valid = (weight.view(-1, 1) if weight.ndim != pred.ndim else weight).expand_as(pred) > 0
        total = max(float(valid.sum()), 1.0)
        norms = (pred.sigmoid().detach() - target).abs()
        loss = F.binary_cross_entropy_with_logits(pred, target, reduction='none')
        return self.finish(loss, self.density_weight(norms, valid, total), total, reduction_override)


@LOSSES.register_module()
class GHMR(_Harmonising):
    """Harmonised smooth L1: `pred` and `target` (N, 4), `weight` (N, 4), of which only the sign matters.

    Args:
        mu: where the loss turns from quadratic to linear.
        bins: of the norms of gradients.
        momentum: of the running counts; 0: none.
        loss_weight: factor on the loss.
        reduction: 'none', 'mean' or 'sum'.
    """

    def __init__(
        self,
        mu: float = 0.02,
        bins: int = 10,
        momentum: float = 0,
        loss_weight: float = 1.0,
        reduction: str = 'mean',
    ) -> None:
        super().__init__(bins, momentum, 1e3, reduction, loss_weight)
        self.mu = mu

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """The loss divides by the sum of the weights itself: `avg_factor` has no effect."""
        weight = torch.ones_like(pred) if weight is None else weight
        diff = pred - target
        root = (diff**2 + self.mu**2).sqrt()
        norms = (diff / root).abs().detach()
        total = max(float(weight.sum()), 1.0)
        weights = self.density_weight(norms, weight > 0, total)
        return self.finish(root - self.mu, weights, total, reduction_override)
