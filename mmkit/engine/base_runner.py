"""All that a training by epochs and one by iterations share.

Hooks are told about epochs and iterations and observe; the state of a training (weights, optimizer, counters, averages,
random numbers) lives on the runner and is saved and restored by `save` and `resume`, so that a resumed training
continues as if it had never stopped.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from operator import methodcaller
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mmkit.dialects.recipe import StepSettings
from mmkit.engine.checkpoint import save_checkpoint, unwrap
from mmkit.engine.ema import ModelEma
from mmkit.engine.hook import Hook, Record, priority_value
from mmkit.engine.loading import Loader, set_epoch, without_first
from mmkit.engine.losses import PendingLosses, sum_losses
from mmkit.engine.meters import Meters
from mmkit.engine.rng import RngState, preserved_rng, rng_state, set_rng_state
from mmkit.engine.state import (
    Best,
    RunnerState,
    load_optimizer_state,
    load_trained,
    read_best,
    read_training,
    replace_averages,
)
from mmkit.engine.step import TrainingStep
from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.protocols import Progress, TracksProgress
from mmkit.schedules import Clock
from mmkit.structures import Batch
from mmkit.utils.dist import all_gather_object, get_rank, get_world_size, is_main

Workflow = Sequence[tuple[str, int]]
Point = Literal[
    'before_run',
    'before_train_epoch',
    'before_train_iter',
    'after_train_iter',
    'after_train_epoch',
    'before_val_epoch',
    'before_val_iter',
    'after_val_iter',
    'after_val_epoch',
]


@runtime_checkable
class Learner(Protocol):
    """A model that can compute losses in evaluation mode as well."""

    def preprocess(self, batch: Batch) -> Batch: ...

    def loss(self, batch: Batch) -> Mapping[str, Tensor | Sequence[Tensor]]: ...


class Runner:
    """Base class of both runners: one training, with all of its state.

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

    The attributes that hooks read are described in `mmkit.engine.hook.Trainer`.

    Raises:
        InvalidValueError: the length doesn't fit the kind of runner.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
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
            message = 'runner.batch_processor is not supported: the model computes its own losses'
            raise InvalidValueError(message, key='batch_processor')
        self.model = model
        self.module = unwrap(model)
        self._tracking = [part for part in self.module.modules() if isinstance(part, TracksProgress)]
        self.optimizer = optimizer
        self.work_dir = Path(work_dir or '.')
        self.logger = logger or logging.getLogger('mmkit.engine')
        self.meta = dict(meta or {})
        self.device = torch.device(device) if device is not None else next(self.module.parameters()).device
        self.timestamp = timestamp or time.strftime('%Y%m%d_%H%M%S')
        self._step = TrainingStep(model, optimizer, step or StepSettings(), self.device)
        self.epoch = self.iter = self.inner_iter = 0
        self.max_epochs, self.max_iters = self._length(max_epochs, max_iters)
        self.mode = 'train'
        self.loader: Loader = []
        self.train_loader: Loader = []
        self.batch: Batch | None = None
        self.meters = Meters()
        self.best: dict[str, Best] = {}
        self.hook_states: dict[str, dict[str, float]] = {}
        self.is_stopped = False
        self.ema: ModelEma | None = None
        self.restored_average: dict[str, Tensor] = {}
        self._epoch_rng: RngState | None = None
        self._resumed_rng: RngState | None = None
        self._hooks: list[Hook] = []

    def _length(self, max_epochs: int | None, max_iters: int | None) -> tuple[int, int]:
        raise NotImplementedError

    def _loop(self, loaders: Sequence[Loader], workflow: Workflow) -> None:
        raise NotImplementedError

    # ------------------------------------------------------------------ hooks

    @property
    def hooks(self) -> list[Hook]:
        """The hooks, in the order in which they are called."""
        return list(self._hooks)

    def register_hook(self, hook: Hook, priority: int | str | None = None) -> None:
        """Add a hook; among equal priorities (by default the hook's own) the first registered is called first."""
        if priority is not None:
            hook.priority = priority
        self._hooks.append(hook)
        self._hooks.sort(key=lambda each: priority_value(each.priority))

    def call(self, point: Point) -> None:
        """Call a method of every hook."""
        for hook in self._hooks:
            methodcaller(point, self)(hook)

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
        """Parameter groups of the optimizer."""
        return self.optimizer.param_groups

    @property
    def clock(self) -> Clock:
        return Clock(self.epoch, self.iter, self.max_epochs, self.max_iters, self.iters_per_epoch)

    def run(self, loaders: Sequence[Loader], workflow: Workflow = (('train', 1),)) -> None:
        """Train to the end.

        Args:
            loaders: one for each part of the workflow.
            workflow: [('train', 1), ('val', 1)] computes the validation losses after every epoch (or iteration).

        Raises:
            InvalidValueError: the loaders don't fit the workflow, or the training loader is empty.
            NonFiniteError: a loss or the gradient is not finite.
        """
        if len(loaders) != len(workflow):
            raise InvalidValueError(
                f'workflow {list(workflow)} has {len(workflow)} parts, but there are {len(loaders)} data loaders',
                key='workflow',
            )
        self.train_loader = next(loader for loader, (mode, _) in zip(loaders, workflow) if mode == 'train')
        if len(self.train_loader) == 0:
            message = 'the training loader has no batch: is the dataset empty, or smaller than one batch?'
            raise InvalidValueError(message, key='data.train')
        self._set_length()
        with ExitStack() as at_end:
            for hook in reversed(self._hooks):
                at_end.callback(hook.after_run, self)
            self.call('before_run')
            self._loop(loaders, workflow)
            self.read_losses()

    def stop(self) -> None:
        """End the training after the present epoch; one that counts iterations, after the present iteration."""
        self.is_stopped = True

    def _set_length(self) -> None:
        """Set the lengths in iterations, now that the length of an epoch is known."""

    def _begin_epoch(self, loader: Loader) -> Iterator[Batch]:
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
        for part in self._tracking:
            part.set_progress(self._progress)
        self.train_step(batch)
        self.iter += 1
        self.inner_iter += 1
        self.call('after_train_iter')

    def train_step(self, batch: Batch) -> None:
        """From a batch to changed weights: see `mmkit.engine.step.TrainingStep`.

        Raises:
            NonFiniteError: see `read_losses`; without waiting for a GPU, which may tell only some steps later.
        """
        taken = self._step(batch, self._progress)
        if taken is False or len(self._step.pending) >= self.meters.window:
            self.read_losses()

    @property
    def _progress(self) -> Progress:
        return Progress(self.epoch, self.max_epochs, self.iter, self.max_iters)

    def read_losses(self) -> None:
        """Bring the losses of the latest steps from the device into `meters`; all processes must call it.

        Raises:
            NonFiniteError: one of the steps was not finite; the message names its images.
        """
        for values, count in self._step.pending.read():
            self.meters.update(values, count)

    @property
    def losses(self) -> dict[str, float]:
        """Losses of the latest step in this process; reading them waits for the device."""
        return self._step.pending.latest()

    # ------------------------------------------------------------------ validation

    @contextmanager
    def evaluation_mode(self, fp16: bool | None = None) -> Iterator[nn.Module]:
        """The model for evaluation, with averaged weights if there are any; the training doesn't notice.

        Args:
            fp16: predict in mixed precision; None: if the training has it.
        """
        was_training = self.model.training
        averaged = self.ema.in_use(self.module) if self.ema else nullcontext()
        with preserved_rng(), averaged, torch.no_grad(), self._step.precision(fp16):
            self.model.eval()
            try:
                yield self.module
            finally:
                self.model.train(was_training)

    def _val_pass(self, loader: Loader, batches: Iterator[Batch]) -> None:
        """Log the losses on validation data, without training."""
        if not isinstance(self.module, Learner):
            raise InvalidTypeError(
                f'a workflow with val needs a model with preprocess and loss, not a {type(self.module).__name__}',
                key='workflow',
            )
        self.mode, self.loader = 'val', loader
        pending, averages = PendingLosses(), Meters(window=10**9)
        with self.evaluation_mode():
            self.call('before_val_epoch')
            for self.batch in batches:
                self.call('before_val_iter')
                _, values = sum_losses(self.module.loss(self.module.preprocess(self.batch.to(self.device))))
                pending.add(values, self.batch.filenames)
                self.call('after_val_iter')
            self.call('after_val_epoch')
        count = len(pending)
        for numbers, images in pending.read():
            averages.update(numbers, images)
        self.mode = 'train'
        self.publish(Record('val', max(self.epoch, 1), count, dict(averages.averages())))

    # ------------------------------------------------------------------ state

    def state_dict(self) -> RunnerState:
        """Everything besides the weights, the optimizer and `meta` that a resumed training needs.

        All processes must call it: the random state of each of them is collected.

        Raises:
            NonFiniteError: one of the latest steps was not finite.
        """
        self.read_losses()
        state: RunnerState = {
            'epoch': self.epoch,
            'iter': self.iter,
            'inner_iter': self.inner_iter,
            'meters': self.meters.state_dict(),
            'best': dict(self.best),
            'hooks': {name: dict(state) for name, state in self.hook_states.items()},
            'rng': all_gather_object({'now': rng_state(), 'epoch': self._epoch_rng}),
            'scaler': self._step.scaler.state_dict(),
        }
        if self.ema is not None:
            trained = self.ema.trained(self.module)
            state['trained'] = {name: value.detach().to('cpu', copy=True) for name, value in trained.items()}
        grads = {name: p.grad.cpu() for name, p in self.module.named_parameters() if p.grad is not None}
        if grads:  # between two steps of the optimizer
            state['grads'] = grads
        return state

    def load_state_dict(self, state: RunnerState) -> None:
        """Take over what `state_dict` returned; the weights have been loaded."""
        self.epoch, self.iter, self.inner_iter = state['epoch'], state['iter'], state['inner_iter']
        self.meters.load_state_dict(state['meters'])
        self.best = read_best(state)
        self.hook_states = {name: dict(values) for name, values in state.get('hooks', {}).items()}
        if state['scaler'] and self._step.scaler.is_enabled():
            self._step.scaler.load_state_dict(state['scaler'])
        if len(state['rng']) == get_world_size():
            mine = state['rng'][get_rank()]
            self._resumed_rng, self._epoch_rng = mine['now'], mine['epoch'] or None
        else:
            self.logger.warning(
                'the checkpoint is of %d processes, now there are %d: random numbers start anew',
                len(state['rng']),
                get_world_size(),
            )
        if 'trained' in state:
            self.restored_average = replace_averages(self.module, state['trained'])
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
        """Resume from a checkpoint of mmkit, or of mmdetection as far as it goes.

        Raises:
            RuntimeError: if its weights don't fit the model.
            InvalidValueError: if its optimizer has other parameters.
            UnknownNameError: if it says nothing about a training.
        """
        checkpoint = read_training(path)
        self.restored_average = load_trained(self.module, checkpoint)
        if 'optimizer' in checkpoint:
            load_optimizer_state(self.optimizer, checkpoint['optimizer'], self.module)
        else:
            self.logger.warning('%s has no state of the optimizer, which starts anew', path)
        if 'runner' in checkpoint:
            self.load_state_dict(checkpoint['runner'])
        else:
            self.epoch, self.iter = checkpoint['meta'].get('epoch', 0), checkpoint['meta']['iter']
            scaler = checkpoint.get('optimizer', {}).get('loss_scaler')  # of mmdetection 3.x
            if scaler and self._step.scaler.is_enabled():
                self._step.scaler.load_state_dict(scaler)
            self.logger.info('%s is of mmdetection: the order of the images and random numbers start anew', path)
        self.logger.info('resumed from %s at epoch %d, iteration %d', path, self.epoch, self.iter)
