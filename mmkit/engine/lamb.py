"""LAMB, Adam for large batches."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mmkit.errors import InvalidValueError
from mmkit.registry import OPTIMIZERS


@OPTIMIZERS.register_module()
class Lamb(Optimizer):
    """Adam's update, scaled in each parameter to the norm of the parameter itself (arXiv:1904.00962, algorithm 2).

    Args:
        params: parameters, or groups of them.
        lr: learning rate.
        bias_correction: of both averages, as in Adam.
        betas: shares of the past in the averages of the gradient and of its square.
        eps: added to the root of the latter.
        weight_decay: share of the parameter in its update.
        max_grad_norm: the gradient of all parameters together is shortened to this norm; None leaves it.
        trust_clip: let a norm of the parameter above that of the update count as equal.
        always_adapt: scale the update without weight decay too.

    Raises:
        InvalidValueError: lr is negative, or a beta is not between 0 and 1.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        bias_correction: bool = True,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        max_grad_norm: float | None = 1.0,
        trust_clip: bool = False,
        always_adapt: bool = False,
    ) -> None:
        if lr < 0:
            raise InvalidValueError(f'lr is {lr}, expected at least 0', key='lr')
        if not all(0 <= beta < 1 for beta in betas):
            raise InvalidValueError(f'betas is {betas}, expected numbers from 0 to below 1', key='betas')
        settings = {
            'lr': lr,
            'bias_correction': bias_correction,
            'betas': tuple(betas),
            'eps': eps,
            'weight_decay': weight_decay,
            'max_grad_norm': max_grad_norm,
            'trust_clip': trust_clip,
            'always_adapt': always_adapt,
        }
        super().__init__(params, settings)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # torch's may evaluate the model again
        """Change the parameters that have a gradient."""
        shrink = self._shrink()
        for group in self.param_groups:
            for param in group['params']:
                if param.grad is not None:
                    update = self._adam(param, param.grad * shrink, group)
                    param.sub_(update * self._trust(param, update, group) * group['lr'])

    def _shrink(self) -> Tensor | float:
        """Factor of all gradients."""
        longest = self.defaults['max_grad_norm']
        grads = [param.grad for group in self.param_groups for param in group['params'] if param.grad is not None]
        if longest is None or not grads:
            return 1.0
        norm: Tensor = torch.stack([grad.norm() for grad in grads]).norm()
        return torch.clamp(longest / norm, max=1.0)

    def _adam(self, param: nn.Parameter, grad: Tensor, group: dict[str, Any]) -> Tensor:
        state = self.state[param]
        if not state:
            state.update(step=0, exp_avg=torch.zeros_like(param), exp_avg_sq=torch.zeros_like(param))
        state['step'] += 1
        mean, square = state['exp_avg'], state['exp_avg_sq']
        mean.lerp_(grad, 1 - group['betas'][0])
        square.lerp_(grad * grad, 1 - group['betas'][1])
        corrections = [1 - beta ** state['step'] if group['bias_correction'] else 1.0 for beta in group['betas']]
        update: Tensor = (mean / corrections[0]) / (square.sqrt() / math.sqrt(corrections[1]) + group['eps'])
        decay: float = group['weight_decay']
        return update + decay * param

    def _trust(self, param: nn.Parameter, update: Tensor, group: dict[str, Any]) -> Tensor | float:
        """Ratio of the norms; 1 where one of them is 0."""
        if not group['weight_decay'] and not group['always_adapt']:
            return 1.0
        ours, theirs = param.norm(), update.norm()
        ratio = torch.where((ours > 0) & (theirs > 0), ours / theirs, torch.ones_like(ours))
        return ratio.clamp(max=1.0) if group['trust_clip'] else ratio
