"""Hooks that keep averaged weights."""

from __future__ import annotations

import math
from typing import TypedDict

from typing_extensions import Unpack

from mmkit.engine.ema import ModelEma
from mmkit.engine.hook import Hook, Trainer
from mmkit.errors import InvalidValueError
from mmkit.registry import HOOKS


class EmaOptions(TypedDict, total=False):
    """Arguments of `EmaHook`, which has their defaults."""

    momentum: float
    interval: int
    skip_buffers: bool
    resume_from: str | None


class EmaHook(Hook):
    """Averages the weights after each step; evaluations, checkpoints and the finished model use the averages.

    Args:
        momentum: share of the new weights.
        interval: iterations between updates.
        skip_buffers: leave the statistics of norm layers alone.
        resume_from: checkpoint to resume the whole training from.
    """

    # Before checkpoints (50): they hold the average of the iteration they are named after.
    priority = 'ABOVE_NORMAL'

    def __init__(
        self,
        momentum: float = 0.0002,
        interval: int = 1,
        skip_buffers: bool = False,
        resume_from: str | None = None,
    ) -> None:
        if not 0 < momentum < 1:
            message = f'momentum of the averaged weights is {momentum}, expected 0 < momentum < 1'
            raise InvalidValueError(message, key='momentum')
        if not isinstance(interval, int) or interval < 1:
            message = f'interval of the averaged weights is {interval!r}, expected a positive whole number'
            raise InvalidValueError(message, key='interval')
        self.momentum = momentum
        self.interval = interval
        self.skip_buffers = skip_buffers
        self.resume_from = resume_from

    def momentum_at(self, iteration: int) -> float:
        """Share of the new weights after an iteration, counted from 0."""
        raise NotImplementedError

    def before_run(self, runner: Trainer) -> None:
        if self.resume_from is not None:
            runner.resume(self.resume_from)
        runner.ema = ModelEma(runner.module, self.skip_buffers)
        runner.ema.load(runner.restored_average)
        runner.restored_average = {}

    def after_train_iter(self, runner: Trainer) -> None:
        assert runner.ema is not None
        if self.every_n_iters(runner, self.interval):
            runner.ema.update(runner.module, self.momentum_at(runner.iter - 1))

    def after_run(self, runner: Trainer) -> None:
        if runner.ema is not None and not runner.ema.applied:
            runner.ema.swap(runner.module)


@HOOKS.register_module()
class ExpMomentumEMAHook(EmaHook):
    """Averages of parameters and buffers, with a momentum that falls exponentially to its final value (YOLOX).

    Args:
        total_iter: iterations in which the surplus momentum falls to 1/e.
        options: see `EmaHook`.
    """

    def __init__(self, total_iter: int = 2000, **options: Unpack[EmaOptions]) -> None:
        super().__init__(**options)
        self.total_iter = total_iter

    def momentum_at(self, iteration: int) -> float:
        return (1 - self.momentum) * math.exp(-(1 + iteration) / self.total_iter) + self.momentum


@HOOKS.register_module()
class LinearMomentumEMAHook(EmaHook):
    """Averages of parameters and buffers, with a momentum that falls to its final value at the beginning.

    Args:
        warm_up: the momentum of iteration t is at most (1 + t) / (warm_up + t).
        options: the final momentum is momentum ** interval; see `EmaHook`.
    """

    def __init__(self, warm_up: int = 100, **options: Unpack[EmaOptions]) -> None:
        super().__init__(**options)
        self.warm_up = warm_up

    def momentum_at(self, iteration: int) -> float:
        return min(self.momentum**self.interval, (1 + iteration) / (self.warm_up + iteration))


@HOOKS.register_module()
class EMAHook(LinearMomentumEMAHook):
    """`LinearMomentumEMAHook` of the parameters alone."""

    def __init__(
        self, momentum: float = 0.0002, interval: int = 1, warm_up: int = 100, resume_from: str | None = None
    ) -> None:
        super().__init__(warm_up, momentum=momentum, interval=interval, skip_buffers=True, resume_from=resume_from)
