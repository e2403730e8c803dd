"""Hooks: callbacks at the stages of a training. They observe it, and are never the training step itself."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mmkit.engine.ema import ModelEma
from mmkit.engine.loading import Loader
from mmkit.engine.meters import Meters
from mmkit.engine.state import Best
from mmkit.errors import InvalidValueError
from mmkit.schedules import Clock
from mmkit.structures import Batch, ImageMeta, Prediction

PRIORITIES = {
    'HIGHEST': 0,
    'VERY_HIGH': 10,
    'HIGH': 30,
    'ABOVE_NORMAL': 40,
    'NORMAL': 50,
    'BELOW_NORMAL': 60,
    'LOW': 70,
    'VERY_LOW': 90,
    'LOWEST': 100,
}


def priority_value(priority: int | str) -> int:
    """A priority as a number: 0 is called first, 100 last.

    Raises:
        InvalidValueError: for a number outside 0..100 or an unknown word.
    """
    if isinstance(priority, str) and priority.upper() in PRIORITIES:
        return PRIORITIES[priority.upper()]
    if isinstance(priority, int) and 0 <= priority <= 100:
        return priority
    raise InvalidValueError(
        f'priority {priority!r} is unknown, expected 0 to 100 or one of {", ".join(PRIORITIES)}', key='priority'
    )


@dataclass(frozen=True)
class Record:
    """Figures for loggers: averages over some training iterations, or the results of an evaluation.

    Attributes:
        mode: 'train' or 'val'.
        epoch: counted from 1.
        iter: iterations of this epoch so far, or of the training; for an evaluation, its number of batches.
        values: by name.
    """

    mode: str
    epoch: int
    iter: int
    values: dict[str, float | str] = field(default_factory=dict)


class Trainer(Protocol):
    """A training as its hooks see it; `mmkit.engine.runner.Runner` is one.

    Attributes:
        model: the detector, or its DistributedDataParallel; `module` is the detector in any case.
        meta: what checkpoints and logs say about the training: config, seed, CLASSES, ...
        timestamp: in the names of log files.
        epoch, iter, inner_iter: complete epochs, iterations, and iterations of the current epoch.
        mode: 'train' or 'val'.
        loader: of the current pass; `train_loader` of the training.
        batch: the current one.
        meters: averages of times, and of losses as far as `read_losses` has read them.
        hooks: all of them, in the order in which they are called.
        is_stopped: a hook has called `stop`.
        best: the best evaluations so far, by the figure that is compared; empty before the first one.
        hook_states: numbers that hooks must not lose when the training is resumed, by the name of the hook.
        ema: averaged weights, if a hook keeps them.
        restored_average: averaged weights of a resumed checkpoint, for that hook.
    """

    model: nn.Module
    module: nn.Module
    optimizer: Optimizer
    work_dir: Path
    logger: logging.Logger
    meta: dict[str, Any]
    device: torch.device
    timestamp: str
    epoch: int
    iter: int
    inner_iter: int
    max_epochs: int
    max_iters: int
    mode: str
    batch: Batch | None
    meters: Meters
    is_stopped: bool
    best: dict[str, Best]
    hook_states: dict[str, dict[str, float]]
    ema: ModelEma | None
    restored_average: dict[str, Tensor]

    @property
    def hooks(self) -> list[Hook]: ...

    @property
    def loader(self) -> Loader: ...

    @property
    def train_loader(self) -> Loader: ...

    @property
    def iters_per_epoch(self) -> int: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Parameter groups of the optimizer."""
        ...

    @property
    def losses(self) -> dict[str, float]:
        """Losses of the latest step in this process; reading them waits for the device."""
        ...

    def read_losses(self) -> None:
        """Bring the losses of the latest steps from the device into `meters`; all processes must call it.

        Raises:
            NonFiniteError: one of the steps was not finite; the message names its images.
        """

    def publish(self, record: Record) -> None:
        """Hand figures to all loggers."""

    def stop(self) -> None:
        """End the training after the present epoch; one that counts iterations, after the present iteration."""

    def evaluation_mode(self, fp16: bool | None = None) -> AbstractContextManager[nn.Module]:
        """The model for evaluation, with averaged weights if there are any; the training doesn't notice.

        Args:
            fp16: predict in mixed precision; None: if the training has it.
        """
        ...

    def save(
        self, path: str | PathLike[str], save_optimizer: bool = True, meta: Mapping[str, Any] | None = None
    ) -> None:
        """Write a checkpoint; all processes must call it."""

    def resume(self, path: str | PathLike[str]) -> None:
        """Resume from a checkpoint."""


class Hook:
    """Base class: every method does nothing, or calls the one that isn't specific to training or validation.

    `runner.epoch`, `runner.iter` and `runner.inner_iter` count what is complete: in `after_train_iter` the iteration
    that just ended is counted, in `before_train_iter` the coming one isn't.
    """

    priority: int | str = 'NORMAL'
    counts_evaluations: ClassVar[bool] = False
    """Whether it must see every evaluation: a resumed training then repeats the one that its checkpoint came before."""

    def before_run(self, runner: Trainer) -> None:
        """Before the first epoch; the state of a resumed training is loaded."""

    def after_run(self, runner: Trainer) -> None:
        """At the end, whatever happened."""

    def before_epoch(self, runner: Trainer) -> None: ...

    def after_epoch(self, runner: Trainer) -> None: ...

    def before_iter(self, runner: Trainer) -> None: ...

    def after_iter(self, runner: Trainer) -> None: ...

    def before_train_epoch(self, runner: Trainer) -> None:
        self.before_epoch(runner)

    def after_train_epoch(self, runner: Trainer) -> None:
        self.after_epoch(runner)

    def before_train_iter(self, runner: Trainer) -> None:
        self.before_iter(runner)

    def after_train_iter(self, runner: Trainer) -> None:
        self.after_iter(runner)

    def before_val_epoch(self, runner: Trainer) -> None:
        self.before_epoch(runner)

    def after_val_epoch(self, runner: Trainer) -> None:
        self.after_epoch(runner)

    def before_val_iter(self, runner: Trainer) -> None:
        self.before_iter(runner)

    def after_val_iter(self, runner: Trainer) -> None:
        self.after_iter(runner)

    def on_record(self, runner: Trainer, record: Record) -> None:
        """Figures were published, see `Trainer.publish`."""

    def on_prediction(self, runner: Trainer, number: int, meta: ImageMeta, prediction: Prediction) -> None:
        """An image of an evaluation was predicted, in this process the one with this number, counted from 0."""

    def every_n_epochs(self, runner: Trainer, n: int) -> bool:
        return n > 0 and runner.epoch % n == 0

    def every_n_iters(self, runner: Trainer, n: int) -> bool:
        return n > 0 and runner.iter % n == 0

    def every_n_inner_iters(self, runner: Trainer, n: int) -> bool:
        return n > 0 and runner.inner_iter % n == 0

    def end_of_epoch(self, runner: Trainer) -> bool:
        return runner.inner_iter == runner.iters_per_epoch

    def is_last_epoch(self, runner: Trainer) -> bool:
        return runner.epoch == runner.max_epochs

    def is_last_iter(self, runner: Trainer) -> bool:
        return runner.iter == runner.max_iters
