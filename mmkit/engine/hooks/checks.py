"""Hooks that stop a training that is bound to fail."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import nn

from mmkit.engine.hook import Hook, Trainer
from mmkit.engine.loading import HasClasses, dataset_of
from mmkit.errors import ConfigError
from mmkit.registry import HOOKS
from mmkit.utils.logging import get_logger
from mmkit.utils.names import first_of


@runtime_checkable
class TellsClassesApart(Protocol):
    """A module of which `num_classes` must be the number of classes in the dataset, if it compares classes."""

    num_classes: int
    compares_classes: bool


@HOOKS.register_module()
class NumClassCheckHook(Hook):
    """Compares `num_classes` of the heads with the classes of the dataset.

    Heads say by `compares_classes` that they want it; one that tells objects from background only (RPN) doesn't.

    Raises:
        ConfigError: naming the key to change.
    """

    def before_train_epoch(self, runner: Trainer) -> None:
        self._check(runner)

    def before_val_epoch(self, runner: Trainer) -> None:
        self._check(runner)

    def _check(self, runner: Trainer) -> None:
        dataset = dataset_of(runner.loader)
        if not isinstance(dataset, HasClasses) or dataset.CLASSES is None:
            runner.logger.warning('%s has no CLASSES to compare with the heads', type(dataset).__name__)
        check_num_classes(runner.module, dataset)


def check_num_classes(model: nn.Module, dataset: object, spare: bool = False) -> None:
    """Compare the classes of the heads in a model with those of a dataset.

    Args:
        dataset: with names in CLASSES; without them nothing is compared.
        spare: heads with more classes are allowed, with a warning.

    Raises:
        ConfigError: naming the key to change.
    """
    classes = dataset.CLASSES if isinstance(dataset, HasClasses) else None
    if classes is None:
        return
    kind = type(dataset).__name__
    if isinstance(classes, str):
        raise ConfigError(f'CLASSES of {kind} is the string {classes!r}: write ({classes!r},)')
    for name, head in model.named_modules():
        if not isinstance(head, TellsClassesApart) or not head.compares_classes or head.num_classes == len(classes):
            continue
        shown = first_of(classes, 5)
        message = (
            f'model.{name}.num_classes is {head.num_classes}, but {kind} has {len(classes)} classes '
            f'({shown}): set model.{name}.num_classes={len(classes)}, or give the dataset those of the model'
        )
        if not spare or head.num_classes < len(classes):
            raise ConfigError(message, key=f'model.{name}.num_classes')
        get_logger().warning(message)


@HOOKS.register_module()
class CheckInvalidLossHook(Hook):
    """Reads the losses every `interval` iterations, so that one that is not finite stops the training at once.

    The runner itself takes no step from such a loss, and stops when losses are read for the log.
    """

    def __init__(self, interval: int = 50) -> None:
        self.interval = interval

    def after_train_iter(self, runner: Trainer) -> None:
        if self.every_n_iters(runner, self.interval):
            runner.read_losses()
