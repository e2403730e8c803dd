"""Hooks for times and memory."""

from __future__ import annotations

import time

import torch

from mmkit.engine.hook import Hook, Trainer
from mmkit.errors import InvalidValueError
from mmkit.registry import HOOKS
from mmkit.utils.imports import require_package


@HOOKS.register_module()
class IterTimerHook(Hook):
    """Measures `time` of an iteration in seconds and the part of it that waited for data, `data_time`."""

    priority = 'LOW'

    def __init__(self) -> None:
        self._since = time.perf_counter()

    def before_train_epoch(self, runner: Trainer) -> None:
        self._since = time.perf_counter()

    def before_train_iter(self, runner: Trainer) -> None:
        runner.meters.update({'data_time': time.perf_counter() - self._since})

    def after_train_iter(self, runner: Trainer) -> None:
        now = time.perf_counter()
        runner.meters.update({'time': now - self._since})
        self._since = now


@HOOKS.register_module()
class EmptyCacheHook(Hook):
    """Gives cached GPU memory back at the chosen moments."""

    def __init__(self, before_epoch: bool = False, after_epoch: bool = True, after_iter: bool = False) -> None:
        self._before_epoch = before_epoch
        self._after_epoch = after_epoch
        self._after_iter = after_iter

    def before_epoch(self, runner: Trainer) -> None:
        if self._before_epoch:
            torch.cuda.empty_cache()

    def after_epoch(self, runner: Trainer) -> None:
        if self._after_epoch:
            torch.cuda.empty_cache()

    def after_iter(self, runner: Trainer) -> None:
        if self._after_iter:
            torch.cuda.empty_cache()


@HOOKS.register_module()
class MemoryProfilerHook(Hook):
    """Logs the memory of the machine and of this process.

    Args:
        interval: iterations between lines.

    Raises:
        MissingPackageError: psutil is not installed.
    """

    def __init__(self, interval: int = 50) -> None:
        if not isinstance(interval, int) or interval < 1:
            raise InvalidValueError(f'interval is {interval!r}, expected a positive whole number', key='interval')
        self._psutil = require_package('psutil', 'MemoryProfilerHook')
        self.interval = interval

    def after_train_iter(self, runner: Trainer) -> None:
        if not self.every_n_iters(runner, self.interval):
            return
        machine, swap, process = self._psutil.virtual_memory(), self._psutil.swap_memory(), self._psutil.Process()
        figures = {
            'available': machine.available,
            'used': machine.used,
            'swap used': swap.used,
            'this process': process.memory_info().rss,
        }
        shown = ', '.join(f'{name} {value // 2**20} MB' for name, value in figures.items())
        runner.logger.info('memory: %s (%.1f %% used)', shown, machine.percent)
