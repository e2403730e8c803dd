"""Hooks for times and memory."""

from __future__ import annotations

import time

import torch

from mmkit.engine.hook import Hook, Trainer
from mmkit.registry import HOOKS


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
