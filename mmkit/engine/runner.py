"""The training loop.

`Runner.train_step` is the training step, all of it. Hooks are told about epochs and iterations and observe; the state
of a training (weights, optimizer, counters, averages, random numbers) lives on the runner and is saved and restored by
`save` and `resume`, so that a resumed training continues as if it had never stopped.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mmkit.dialects.recipe import LossScale, StepSettings
from mmkit.engine.checkpoint import load_state_dict, save_checkpoint, unwrap
from mmkit.engine.ema import ModelEma
from mmkit.engine.hook import Hook, Record, priority_value
from mmkit.engine.loading import set_epoch, without_first
from mmkit.engine.losses import PendingLosses, sum_losses
from mmkit.engine.meters import Meters
from mmkit.engine.optim import clip_gradient, init_momentum, load_optimizer_state, step_if
from mmkit.engine.rng import preserved_rng, rng_state, set_rng_state
from mmkit.protocols import Progress, TracksProgress
from mmkit.registry import RUNNERS
from mmkit.schedules import Clock
from mmkit.structures import Batch
from mmkit.utils.dist import all_gather_object, get_rank, get_world_size, is_main
from mmkit.utils.weights import read_weights, resolve

Workflow = Sequence[tuple[str, int]]


class Runner:
    """What the two kinds of runner share.

    Args:
        model: a detector, or its DistributedDataParallel; called with a batch it returns a dict of losses.
        optimizer: over the model's parameters.
        work_dir: where hooks write.
        logger: by default `mmkit.engine`.
        meta: what checkpoints and logs say about the training: config, seed, CLASSES, ...
        max_epochs: length of the training for an EpochBasedRunner.
        max_iters: length of the training for an IterBasedRunner.
        batch_processor: not supported, as a model computes its own losses.
        step: gradient clipping, accumulation and precision.
        device: where batches are moved to; by default that of the model.
        timestamp: in the names of log files; by default now.

    Attributes:
        epoch, iter, inner_iter: completed epochs, iterations, and iterations of the current epoch.
        mode: 'train' or 'val'.
        loader: of the current pass; `train_loader` of the training.
        batch: the current one.
        meters: averages of times, and of losses as far as `read_losses` has read them.
        best: key, score and path of the best evaluation so far.
        ema: averaged weights, if a hook keeps them.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | None = None,
        work_dir: str | os.PathLike[str] | None = None,
        logger: logging.Logger | None = None,
        meta: Mapping[str, Any] | None = None,
        max_iters: int | None = None,
        max_epochs: int | None = None,
        batch_processor: None = None,
        step: StepSettings | None = None,
        device: torch.device | str | None = None,
        timestamp: str | None = None,
    ) -> None:
        if batch_processor is not None:
            raise ValueError('runner.batch_processor is not supported: the model computes its own losses')
        self.model = model
        self.module: Any = unwrap(model)
        self.optimizer = optimizer
        self.work_dir = Path(work_dir or '.')
        self.logger = logger or logging.getLogger('mmkit.engine')
        self.meta = dict(meta or {})
        self.step = step or StepSettings()
        self.device = torch.device(device) if device is not None else next(self.module.parameters()).device
        self.timestamp = timestamp or time.strftime('%Y%m%d_%H%M%S')
        self.scaler = _make_scaler(self.step.fp16, self.device)
        self._fixed_scale = self.step.fp16.init_scale if self.step.fp16 and not self.step.fp16.dynamic else None
        self.epoch = self.iter = self.inner_iter = 0
        self.max_epochs, self.max_iters = self._length(max_epochs, max_iters)
        self.mode = 'train'
        self.loader: Any = None
        self.train_loader: Any = None
        self.batch: Batch | None = None
        self.meters = Meters()
        self._pending = PendingLosses()
        self.best: dict[str, Any] = {}
        self.ema: ModelEma | None = None
        self.restored_average: dict[str, Tensor] = {}
        self._epoch_rng: dict[str, Any] = {}
        self._resumed_rng: dict[str, Any] | None = None
        self._hooks: list[Hook] = []

    def _length(self, max_epochs: int | None, max_iters: int | None) -> tuple[int, int]:
        raise NotImplementedError

    def _loop(self, loaders: Sequence[Any], workflow: Workflow) -> None:
        raise NotImplementedError

    # ------------------------------------------------------------------ hooks

    @property
    def hooks(self) -> list[Hook]:
        """In the order in which they are called."""
        return list(self._hooks)

    def register_hook(self, hook: Hook, priority: int | str | None = None) -> None:
        """Add a hook; among equal priorities (by default the hook's own) the first registered is called first."""
        if priority is not None:
            hook.priority = priority
        self._hooks.append(hook)
        self._hooks.sort(key=lambda each: priority_value(each.priority))

    def call(self, point: str) -> None:
        """Call a method of all hooks."""
        for hook in self._hooks:
            getattr(hook, point)(self)

    def publish(self, record: Record) -> None:
        """Hand figures to all loggers."""
        for hook in self._hooks:
            hook.on_record(self, record)

    # ------------------------------------------------------------------ running

    @property
    def iters_per_epoch(self) -> int:
        return len(self.train_loader)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The optimizer's."""
        assert self.optimizer is not None
        return self.optimizer.param_groups

    @property
    def clock(self) -> Clock:
        return Clock(self.epoch, self.iter, self.max_epochs, self.max_iters, self.iters_per_epoch)

    def run(self, loaders: Sequence[Any], workflow: Workflow = (('train', 1),)) -> None:
        """Train to the end.

        Args:
            loaders: one for each part of the workflow.
            workflow: [('train', 1), ('val', 1)] computes the validation losses after every epoch (or iteration).

        Raises:
            ValueError: if the loaders don't fit the workflow or the training loader is empty.
            NonFiniteError: a loss or the gradient is not finite.
        """
        if len(loaders) != len(workflow):
            raise ValueError(
                f'workflow {list(workflow)} has {len(workflow)} parts, but there are {len(loaders)} data loaders'
            )
        self.train_loader = next(loader for loader, (mode, _) in zip(loaders, workflow) if mode == 'train')
        if len(self.train_loader) == 0:
            raise ValueError('the training loader has no batch: is the dataset empty, or smaller than one batch?')
        self._set_length()
        with ExitStack() as at_end:
            for hook in reversed(self._hooks):
                at_end.callback(hook.after_run, self)
            self.call('before_run')
            self._loop(loaders, workflow)
            self.read_losses()

    def _set_length(self) -> None:
        """Now that the length of an epoch is known."""

    def _begin_epoch(self, loader: Any) -> Iterator[Batch]:
        """The batches of this epoch that are still to come; those before a resumed iteration aren't loaded."""
        self.mode, self.loader = 'train', loader
        self.model.train()
        set_epoch(loader, self.epoch)
        self.call('before_train_epoch')
        now, self._resumed_rng = self._resumed_rng, None
        if now is not None and not self.inner_iter:
            set_rng_state(now)
        if self.inner_iter and self._epoch_rng:
            set_rng_state(self._epoch_rng)  # the order of the images is drawn as it was
        self._epoch_rng = rng_state()
        batches = iter(without_first(loader, self.inner_iter))
        if now is not None and self.inner_iter:
            set_rng_state(now)
        return batches

    def _end_epoch(self) -> None:
        self.epoch += 1
        self.inner_iter = 0
        self.call('after_train_epoch')

    def _train_iter(self, batch: Batch) -> None:
        self.batch = batch
        self.call('before_train_iter')
        if isinstance(self.module, TracksProgress):
            self.module.set_progress(Progress(self.epoch, self.max_epochs, self.iter, self.max_iters))
        self.train_step(batch)
        self.iter += 1
        self.inner_iter += 1
        self.call('after_train_iter')

    def train_step(self, batch: Batch) -> None:
        """From a batch to changed weights, without waiting for the device.

        A step whose losses or gradient are not finite changes nothing; `read_losses` raises the error.
        """
        assert self.optimizer is not None
        with self.precision():
            losses = self.model(batch.to(self.device, non_blocking=True))
        total, values = sum_losses(losses)
        finite = total.detach().isfinite()
        # An infinite loss may have a finite gradient: multiplied by nan, it stops the step in all processes.
        total = total * torch.where(finite, 1.0, math.nan)
        self.scaler.scale(total / self._iters_in_step()).backward()
        if self.step.detect_anomalous_params and self.iter == 0:
            self._log_params_without_grad()
        taken: bool | None = None
        if self._step_is_due():
            self.scaler.unscale_(self.optimizer)
            norm = clip_gradient(self.optimizer, self.step.grad_clip)
            if self.step.grad_clip:
                values['grad_norm'] = norm
            init_momentum(self.optimizer)
            if self.scaler.is_enabled():  # it skips steps that overflow, and so finds its scale
                self.scaler.step(self.optimizer)
                self.scaler.update(self._fixed_scale)
            else:
                finite = finite & norm.isfinite()
                taken = step_if(finite, self.optimizer)
            self.model.zero_grad(set_to_none=True)
        place = f'in iteration {self.iter + 1} (epoch {self.epoch + 1})'
        self._pending.add(values, [meta.filename for meta in batch.metas], finite, place)
        if taken is False or len(self._pending) >= self.meters.window:
            self.read_losses()

    def read_losses(self) -> None:
        """Bring the losses of the latest steps from the device into `meters`; all processes must call it.

        Raises:
            NonFiniteError: one of the steps was not finite; the message names its images.
        """
        for values, count in self._pending.read():
            self.meters.update(values, count)

    @property
    def losses(self) -> dict[str, float]:
        """Losses of the latest step in this process; reading them waits for the device."""
        return self._pending.latest()

    def precision(self) -> AbstractContextManager[Any]:
        """Mixed precision if the settings say so: float16 on a GPU, bfloat16 on the CPU."""
        if self.step.fp16 is None:
            return nullcontext()
        dtype = torch.float16 if self.device.type == 'cuda' else torch.bfloat16
        return torch.autocast(self.device.type, dtype=dtype)

    def _iters_in_step(self) -> int:
        """Iterations that share the coming step of the optimizer; in the last one there may be fewer."""
        group = self.step.cumulative_iters
        left = self.max_iters - self.iter // group * group
        return min(group, left) if left > 0 else group

    def _step_is_due(self) -> bool:
        return (self.iter + 1) % self.step.cumulative_iters == 0 or self.iter + 1 == self.max_iters

    def _log_params_without_grad(self) -> None:
        for name, param in self.module.named_parameters():
            if param.requires_grad and param.grad is None:
                self.logger.error('%s %s gets no gradient: no loss depends on it', name, tuple(param.shape))

    # ------------------------------------------------------------------ validation

    @contextmanager
    def evaluation_mode(self) -> Iterator[nn.Module]:
        """The model for evaluation, with averaged weights if there are any; the training doesn't notice."""
        was_training = self.model.training
        averaged = self.ema.in_use(self.module) if self.ema else nullcontext()
        with preserved_rng(), averaged, torch.no_grad(), self.precision():
            self.model.eval()
            try:
                yield self.module
            finally:
                self.model.train(was_training)

    def _val_pass(self, loader: Any, batches: Iterator[Batch]) -> None:
        """Log the losses on validation data; nothing is learnt."""
        self.mode, self.loader = 'val', loader
        pending, averages = PendingLosses(), Meters(window=10**9)
        with self.evaluation_mode():
            self.call('before_val_epoch')
            for self.batch in batches:
                self.call('before_val_iter')
                _, values = sum_losses(self.module.loss(self.module.preprocess(self.batch.to(self.device))))
                pending.add(values, [meta.filename for meta in self.batch.metas])
                self.call('after_val_iter')
            self.call('after_val_epoch')
        count = len(pending)
        for numbers, images in pending.read():
            averages.update(numbers, images)
        self.mode = 'train'
        self.publish(Record('val', max(self.epoch, 1), count, dict(averages.averages())))

    # ------------------------------------------------------------------ state

    def state_dict(self) -> dict[str, Any]:
        """Everything besides the weights, the optimizer and `meta` that a resumed training needs.

        All processes must call it: the random state of each of them is collected.

        Raises:
            NonFiniteError: one of the latest steps was not finite.
        """
        self.read_losses()
        state: dict[str, Any] = {
            'epoch': self.epoch,
            'iter': self.iter,
            'inner_iter': self.inner_iter,
            'meters': self.meters.state_dict(),
            'best': self.best,
            'rng': all_gather_object({'now': rng_state(), 'epoch': self._epoch_rng}),
            'scaler': self.scaler.state_dict(),
        }
        if self.ema is not None:
            trained = self.ema.trained(self.module)
            state['trained'] = {name: value.detach().to('cpu', copy=True) for name, value in trained.items()}
        grads = {name: p.grad.cpu() for name, p in self.module.named_parameters() if p.grad is not None}
        if grads:  # between two steps of the optimizer
            state['grads'] = grads
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned; the weights have been loaded."""
        self.epoch, self.iter, self.inner_iter = state['epoch'], state['iter'], state['inner_iter']
        self.meters.load_state_dict(state['meters'])
        self.best = dict(state['best'])
        if state['scaler'] and self.scaler.is_enabled():
            self.scaler.load_state_dict(state['scaler'])
        if len(state['rng']) == get_world_size():
            mine = state['rng'][get_rank()]
            self._resumed_rng, self._epoch_rng = mine['now'], mine['epoch']
        else:
            self.logger.warning(
                'the checkpoint is of %d processes, now there are %d: random numbers start anew',
                len(state['rng']),
                get_world_size(),
            )
        if 'trained' in state:
            self.restored_average = {name: value.clone() for name, value in self.module.state_dict().items()}
            self.module.load_state_dict(state['trained'], strict=False)
        for name, param in self.module.named_parameters():
            if name in state.get('grads', {}):
                param.grad = state['grads'][name].to(param.device)

    def save(
        self, path: str | os.PathLike[str], save_optimizer: bool = True, meta: Mapping[str, Any] | None = None
    ) -> None:
        """Write a checkpoint; all processes must call it and the first one writes.

        With averaged weights these are the `state_dict` of the file.

        Raises:
            OSError: if it cannot be written; what was at `path` stays.
        """
        state = self.state_dict()
        if not is_main():
            return
        meta = {**self.meta, **(meta or {}), 'epoch': self.epoch, 'iter': self.iter}
        with self.ema.in_use(self.module) if self.ema else nullcontext():
            save_checkpoint(path, self.module, self.optimizer if save_optimizer else None, meta, {'runner': state})

    def resume(self, path: str | os.PathLike[str]) -> None:
        """Go on from a checkpoint of ours, or of mmdetection as far as it tells.

        Raises:
            RuntimeError: if its weights don't fit the model.
            KeyError: if it says nothing about a training.
        """
        checkpoint = read_weights(resolve(path))
        if 'meta' not in checkpoint or 'iter' not in checkpoint['meta']:
            raise KeyError(f'{path} holds weights but no state of a training: start from it with load_from instead')
        weights = checkpoint['state_dict']
        averages = {f'ema_{name.replace(".", "_")}': name for name in self.module.state_dict()}
        foreign = {averages[name]: weights[name] for name in averages if name in weights}
        load_state_dict(self.module, {k: v for k, v in weights.items() if k not in averages}, strict=True)
        if foreign:  # mmdetection keeps the weights that are trained in buffers beside the averaged ones
            self.restored_average = {name: value.clone() for name, value in self.module.state_dict().items()}
            self.module.load_state_dict(foreign, strict=False)
        if 'optimizer' in checkpoint and self.optimizer is not None:
            load_optimizer_state(self.optimizer, checkpoint['optimizer'], self.module)
        else:
            self.logger.warning('%s has no state of the optimizer, which starts anew', path)
        if 'runner' in checkpoint:
            self.load_state_dict(checkpoint['runner'])
        else:
            self.epoch, self.iter = checkpoint['meta'].get('epoch', 0), checkpoint['meta']['iter']
        self.logger.info('resumed from %s at epoch %d, iteration %d', path, self.epoch, self.iter)


@RUNNERS.register_module()
class EpochBasedRunner(Runner):
    """Trains for `max_epochs` passes over the dataset; a workflow counts epochs."""

    def _length(self, max_epochs: int | None, max_iters: int | None) -> tuple[int, int]:
        if not isinstance(max_epochs, int) or max_epochs < 1 or max_iters is not None:
            raise ValueError(
                'runner EpochBasedRunner needs max_epochs, a positive number, and no max_iters, '
                f'got max_epochs={max_epochs!r}, max_iters={max_iters!r}'
            )
        return max_epochs, 0

    def _set_length(self) -> None:
        self.max_iters = self.max_epochs * self.iters_per_epoch

    def _loop(self, loaders: Sequence[Any], workflow: Workflow) -> None:
        done = _done_in_round(self.epoch, workflow)
        while self.epoch < self.max_epochs:
            for loader, (mode, times) in zip(loaders, workflow):
                if mode == 'train':
                    times, done = max(times - done, 0), max(done - times, 0)
                    for _ in range(min(times, self.max_epochs - self.epoch)):
                        self._train_epoch(loader)
                elif not done:
                    for _ in range(times):
                        self._val_pass(loader, iter(loader))

    def _train_epoch(self, loader: Any) -> None:
        if not self.inner_iter:
            self.read_losses()
            self.meters.clear()
        for batch in self._begin_epoch(loader):
            self._train_iter(batch)
        self._end_epoch()


@RUNNERS.register_module()
class IterBasedRunner(Runner):
    """Trains for `max_iters` batches; a workflow counts iterations. Epochs go on underneath."""

    def _length(self, max_epochs: int | None, max_iters: int | None) -> tuple[int, int]:
        if not isinstance(max_iters, int) or max_iters < 1 or max_epochs is not None:
            raise ValueError(
                'runner IterBasedRunner needs max_iters, a positive number, and no max_epochs, '
                f'got max_iters={max_iters!r}, max_epochs={max_epochs!r}'
            )
        return 0, max_iters

    def _set_length(self) -> None:
        self.max_epochs = math.ceil(self.max_iters / self.iters_per_epoch)

    def _loop(self, loaders: Sequence[Any], workflow: Workflow) -> None:
        done = _done_in_round(self.iter, workflow)
        rounds = (self.iter - done) // _round_length(workflow)
        batches: dict[int, Iterator[Batch]] = {}
        while self.iter < self.max_iters:
            for index, (loader, (mode, times)) in enumerate(zip(loaders, workflow)):
                if mode == 'train':
                    endless = batches.setdefault(index, self._train_batches(loader))
                    times, done = max(times - done, 0), max(done - times, 0)
                    for _ in range(min(times, self.max_iters - self.iter)):
                        self.mode, self.loader = 'train', loader
                        self._train_iter(next(endless))
                elif not done:
                    endless = batches.setdefault(index, _forever(loader, rounds * times))
                    self._val_pass(loader, (next(endless) for _ in range(times)))
        if self.inner_iter == self.iters_per_epoch:
            self._end_epoch()

    def _train_batches(self, loader: Any) -> Iterator[Batch]:
        while True:
            yield from self._begin_epoch(loader)
            self._end_epoch()


def _make_scaler(half: LossScale | None, device: torch.device) -> torch.amp.GradScaler:
    """Scales losses for float16, which is used on GPUs; elsewhere it does nothing."""
    if half is None or device.type != 'cuda':
        return torch.amp.GradScaler(device.type, enabled=False)
    return torch.amp.GradScaler(
        device.type,
        init_scale=half.init_scale,
        growth_factor=half.growth_factor,
        backoff_factor=half.backoff_factor,
        growth_interval=half.growth_interval,
    )


def _round_length(workflow: Workflow) -> int:
    return sum(times for mode, times in workflow if mode == 'train')


def _done_in_round(count: int, workflow: Workflow) -> int:
    """Of a round of the workflow, how much training a resumed run has behind it.

    A checkpoint is written before the validation that follows, so at the end of a round all of its training is done.
    """
    return (count - 1) % _round_length(workflow) + 1 if count else 0


def _forever(loader: Any, start: int) -> Iterator[Batch]:
    """Batches without end, beginning with batch `start`."""
    yield from without_first(loader, start % len(loader))
    while True:
        yield from loader
