"""Hooks that stop a training that cannot go well."""

from __future__ import annotations

from typing import Any

from torch import nn

from mmkit.config import ConfigError
from mmkit.engine.hook import Hook
from mmkit.engine.runner import Runner
from mmkit.registry import HOOKS
from mmkit.utils.logging import get_logger


@HOOKS.register_module()
class NumClassCheckHook(Hook):
    """Compares `num_classes` of the heads with the classes of the dataset.

    Heads that tell objects from background only (RPN) and backbones are left out.

    Raises:
        ConfigError: naming the key to change.
    """

    def before_train_epoch(self, runner: Runner) -> None:
        self._check(runner)

    def before_val_epoch(self, runner: Runner) -> None:
        self._check(runner)

    def _check(self, runner: Runner) -> None:
        dataset = runner.loader.dataset
        if getattr(dataset, 'CLASSES', None) is None:
            runner.logger.warning('%s has no CLASSES to compare with the heads', type(dataset).__name__)
        check_num_classes(runner.module, dataset)


def check_num_classes(model: nn.Module, dataset: Any, spare: bool = False) -> None:
    """Raises a ConfigError if a head of `model` tells more or fewer classes apart than `dataset` has in CLASSES.

    Args:
        spare: of more there is a warning only.
    """
    classes = getattr(dataset, 'CLASSES', None)
    if classes is None:
        return
    if isinstance(classes, str):
        raise ConfigError(f'CLASSES of {type(dataset).__name__} is the string {classes!r}: write ({classes!r},)')
    for name, module in model.named_modules():
        number = getattr(module, 'num_classes', None)
        if number is None or number == len(classes) or not _is_compared(name, module):
            continue
        shown = ', '.join(map(str, classes[:5])) + (', ...' if len(classes) > 5 else '')
        message = (
            f'model.{name}.num_classes is {number}, but {type(dataset).__name__} has {len(classes)} classes '
            f'({shown}): set model.{name}.num_classes={len(classes)}, or data.*.classes to the classes of the model'
        )
        if not spare or number < len(classes):
            raise ConfigError(message)
        get_logger().warning(message)


def _is_compared(name: str, module: Any) -> bool:
    parts = name.split('.')
    kind = type(module).__name__
    if 'backbone' in parts or 'rpn_head' in parts or 'semantic_head' in parts or 'RPN' in kind or 'Loss' in kind:
        return False
    return any(part.endswith('head') or part.startswith('head') for part in parts)


@HOOKS.register_module()
class CheckInvalidLossHook(Hook):
    """Reads the losses every `interval` iterations, so that one that is not finite stops the training at once.

    The runner itself takes no step from such a loss, and stops when losses are read for the log.
    """

    def __init__(self, interval: int = 50) -> None:
        self.interval = interval

    def after_train_iter(self, runner: Runner) -> None:
        if self.every_n_iters(runner, self.interval):
            runner.read_losses()
