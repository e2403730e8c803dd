"""Averaged weights of the kinds that mmdetection 3.x offers, and the mean teacher."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from mmkit.engine.hook import Hook, Trainer
from mmkit.engine.hooks.ema import EmaHook
from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.registry import HOOKS
from mmkit.utils.names import suggestion, unscoped

Share = Callable[[float, float, int], float]

_SHARES: Mapping[str, Share] = {
    'ExponentialMovingAverage': lambda momentum, gamma, t: momentum,
    'MomentumAnnealingEMA': lambda momentum, gamma, t: max(momentum, gamma / (gamma + t)),
    'ExpMomentumEMA': lambda momentum, gamma, t: (1 - momentum) * math.exp(-(1 + t) / gamma) + momentum,
    'StochasticWeightAverage': lambda momentum, gamma, t: 1 / (t + 1),
}
_GAMMAS = {'MomentumAnnealingEMA': 100, 'ExpMomentumEMA': 2000}


@HOOKS.register_module()
class AveragedModelHook(EmaHook):
    """Averages of the weights that begin with those after a first iteration, and are updated at an interval from there.

    average = (1 - share) * average + share * weights. Of the iterations since the first, t = 0, 1, 2, ..., the first
    copies the weights (share 1), and so does every iteration before it. Evaluations, checkpoints and the finished
    model use the averages.

    Args:
        ema_type: the share: `ExponentialMovingAverage`: momentum; `MomentumAnnealingEMA`: gamma / (gamma + t), at least
            momentum; `ExpMomentumEMA`: (1 - momentum) * exp(-(1 + t) / gamma) + momentum (YOLOX, RTMDet);
            `StochasticWeightAverage`: that of a plain mean over all updates (arXiv:1803.05407).
        momentum: the smallest share, between 0 and 1; of no kind but `StochasticWeightAverage` it may be left out.
        gamma: number of iterations over which the share falls; only for the two kinds that have it above.
        interval: iterations between updates.
        update_buffers: average the statistics of norm layers too; otherwise those of the trained model are used.
        begin_iter: first iteration of the average, counted from 1; 0 is 1.
        begin_epoch: its first epoch, counted from 1, in place of `begin_iter`.

    Raises:
        InvalidValueError: the kind is unknown, lacks `gamma`, or both beginnings are given.
    """

    def __init__(
        self,
        ema_type: str = 'ExponentialMovingAverage',
        momentum: float = 0.0002,
        gamma: int | None = None,
        interval: int = 1,
        update_buffers: bool = False,
        begin_iter: int = 0,
        begin_epoch: int = 0,
    ) -> None:
        super().__init__(momentum=momentum, interval=interval, skip_buffers=not update_buffers)
        kind = unscoped(ema_type)
        if kind not in _SHARES:
            raise InvalidValueError(f'ema_type {ema_type!r} is unknown{suggestion(kind, _SHARES)}', key='ema_type')
        if gamma is not None and (kind not in _GAMMAS or gamma <= 0):
            message = f'gamma is {gamma}, expected a positive number for {" or ".join(_GAMMAS)}, none for other kinds'
            raise InvalidValueError(message, key='gamma')
        if begin_iter and begin_epoch:
            message = f'begin_iter={begin_iter} and begin_epoch={begin_epoch} are both given: one of them is needed'
            raise InvalidValueError(message, key='begin_epoch')
        self.share = _SHARES[kind]
        self.gamma = gamma or _GAMMAS.get(kind, 1)
        self.counts_updates = kind == 'StochasticWeightAverage'
        self.begin_iter = begin_iter
        self.begin_epoch = begin_epoch

    def momentum_at(self, iteration: int) -> float:
        if iteration <= 0:
            return 1.0
        return self.share(self.momentum, self.gamma, iteration // self.interval if self.counts_updates else iteration)

    def after_train_iter(self, runner: Trainer) -> None:
        assert runner.ema is not None
        first = max(self.begin_iter, (self.begin_epoch - 1) * runner.iters_per_epoch + 1, 1)
        since = runner.iter - first
        if since <= 0 or since % self.interval == 0:
            runner.ema.update(runner.module, self.momentum_at(since))


@runtime_checkable
class HasTeacher(Protocol):
    """A model of two models of the same parameters: one learns, the other follows it."""

    teacher: nn.Module
    student: nn.Module


@HOOKS.register_module()
class MeanTeacherHook(Hook):
    """Makes the teacher of a semi-supervised model an average of its student (arXiv:1703.01780).

    A training begins with a copy of the student.

    Args:
        momentum: share of the student in an update, between 0 and 1.
        interval: iterations between updates.
        skip_buffer: average parameters only, not the statistics of norm layers.

    Raises:
        InvalidTypeError: when the training begins, if the model has no `teacher` and `student`.
    """

    priority = 'ABOVE_NORMAL'  # before checkpoints

    def __init__(self, momentum: float = 0.001, interval: int = 1, skip_buffer: bool = True) -> None:
        if not 0 < momentum < 1:
            raise InvalidValueError(f'momentum is {momentum}, expected 0 < momentum < 1', key='momentum')
        if not isinstance(interval, int) or interval < 1:
            raise InvalidValueError(f'interval is {interval!r}, expected a positive whole number', key='interval')
        self.momentum = momentum
        self.interval = interval
        self.skip_buffer = skip_buffer

    def before_run(self, runner: Trainer) -> None:
        model = _require_teacher(runner)
        if runner.iter == 0:
            self._follow(model, 1.0)

    def after_train_iter(self, runner: Trainer) -> None:
        if self.every_n_iters(runner, self.interval):
            self._follow(_require_teacher(runner), self.momentum)

    @torch.no_grad()
    def _follow(self, model: HasTeacher, momentum: float) -> None:
        taught, teaching = self._tracked(model.student), self._tracked(model.teacher)
        for name, value in taught.items():
            if value.is_floating_point():
                teaching[name].lerp_(value, momentum)

    def _tracked(self, model: nn.Module) -> dict[str, Tensor]:
        """Every tensor once, also those that state_dict has by several names."""
        return {**dict(model.named_parameters()), **dict(() if self.skip_buffer else model.named_buffers())}


def _require_teacher(runner: Trainer) -> HasTeacher:
    if not isinstance(runner.module, HasTeacher):
        kind = type(runner.module).__name__
        raise InvalidTypeError(f'MeanTeacherHook needs a model with a teacher and a student, not a {kind}')
    return runner.module
