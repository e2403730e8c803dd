"""The training step: forward, backward, clipping, update."""

from __future__ import annotations

import logging
import math
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn
from torch.optim import Optimizer

from mmkit.dialects.recipe import StepSettings
from mmkit.engine.checkpoint import unwrap
from mmkit.engine.losses import PendingLosses, sum_losses
from mmkit.engine.optim import clip_gradient, init_momentum, step_if
from mmkit.protocols import Progress
from mmkit.structures import Batch

logger = logging.getLogger('mmkit.engine.step')


class TrainingStep:
    """Losses of a batch, their gradient and a step of the optimizer.

    Args:
        model: a detector, or its DistributedDataParallel; called with a batch it returns a dict of losses.
        optimizer: over the model's parameters.
        settings: clipping, accumulation and precision.
        device: of the model.

    Attributes:
        scaler: of the losses in float16; elsewhere it does nothing.
        pending: losses of the latest steps.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, settings: StepSettings, device: torch.device) -> None:
        self.model = model
        self.optimizer = optimizer
        self.settings = settings
        self.device = device
        self.scaler = _make_scaler(settings, device)
        if settings.fp16 is not None and settings.amp_dtype == 'float16' and device.type != 'cuda':
            logger.info('mixed precision in bfloat16: float16 is for GPUs')
        self.pending = PendingLosses()

    def __call__(self, batch: Batch, progress: Progress) -> bool | None:
        """Train on one batch, without waiting for the device.

        If the losses or the gradient are not finite, no weight changes, and the next reading of `pending` raises an
        error about this batch.

        Returns:
            False if it is known already that the step was not taken.
        """
        with self.precision():
            losses = self.model(batch.to(self.device, non_blocking=True))
        total, values = sum_losses(losses)
        finite = total.detach().isfinite()
        # An infinite loss may have a finite gradient: multiplied by nan, it stops the step in all processes.
        total = total * torch.where(finite, 1.0, math.nan)
        self.scaler.scale(total / self._batches_in_step(progress)).backward()
        if self.settings.detect_anomalous_params and progress.iter == 0:
            self._log_params_without_grad()
        taken: bool | None = None
        if self._is_due(progress):
            self.scaler.unscale_(self.optimizer)
            norm = clip_gradient(self.optimizer, self.settings.grad_clip)
            if self.settings.grad_clip:
                values['grad_norm'] = norm
            init_momentum(self.optimizer)
            if self.scaler.is_enabled():  # it skips steps that overflow, and so finds its scale
                self.scaler.step(self.optimizer)
                half = self.settings.fp16
                self.scaler.update(half.init_scale if half is not None and not half.dynamic else None)
            else:
                finite = finite & norm.isfinite()
                taken = step_if(finite, self.optimizer)
            self.model.zero_grad(set_to_none=True)
        place = f'in iteration {progress.iter + 1} (epoch {progress.epoch + 1})'
        self.pending.add(values, batch.filenames, finite, place)
        return taken

    def precision(self, half: bool | None = None) -> AbstractContextManager[object]:
        """Mixed precision if the settings, or `half`, say so; float16 on a GPU only, elsewhere it is bfloat16.

        Args:
            half: None: as in the training.
        """
        if not (self.settings.fp16 is not None if half is None else half):
            return nullcontext()
        is_float16 = self.settings.amp_dtype == 'float16' and self.device.type == 'cuda'
        return torch.autocast(self.device.type, torch.float16 if is_float16 else torch.bfloat16)

    def _batches_in_step(self, progress: Progress) -> int:
        """Batches that share the coming step of the optimizer; in the last one there may be fewer."""
        group = self.settings.cumulative_iters
        left = progress.max_iters - progress.iter // group * group
        return min(group, left) if left > 0 else group

    def _is_due(self, progress: Progress) -> bool:
        done = progress.iter + 1
        return done % self.settings.cumulative_iters == 0 or done == progress.max_iters

    def _log_params_without_grad(self) -> None:
        for name, param in unwrap(self.model).named_parameters():
            if param.requires_grad and param.grad is None:
                logger.error('%s %s gets no gradient: no loss depends on it', name, tuple(param.shape))


def _make_scaler(settings: StepSettings, device: torch.device) -> torch.amp.GradScaler:
    """Scales losses for float16, which is used on GPUs; for other numbers it does nothing."""
    half = settings.fp16
    if half is None or settings.amp_dtype != 'float16' or device.type != 'cuda':
        return torch.amp.GradScaler(device.type, enabled=False)
    return torch.amp.GradScaler(
        device.type,
        init_scale=half.init_scale,
        growth_factor=half.growth_factor,
        backoff_factor=half.backoff_factor,
        growth_interval=half.growth_interval,
    )
