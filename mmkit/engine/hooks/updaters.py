"""Hooks that set learning rate and momentum along a schedule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from mmkit.dialects.lr_config import LR_POLICIES, MOMENTUM_POLICIES, read_lr_config, read_momentum_config
from mmkit.engine.hook import Hook, Trainer
from mmkit.errors import InvalidValueError
from mmkit.registry import HOOKS, Registry
from mmkit.schedules import Curve, Schedule, Track

ParamGroup = dict[str, Any]  # torch's: parameters, and the optimizer's settings for them


class _UpdaterHook(Hook):
    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def before_run(self, runner: Trainer) -> None:
        self._track = Track(self.schedule, [self.base(group) for group in runner.param_groups])

    def before_train_iter(self, runner: Trainer) -> None:
        for group, value in zip(runner.param_groups, self._track.values(runner.clock)):
            self.put(group, value)

    def base(self, group: ParamGroup) -> float:
        """The value that the optimizer was made with; the group, and so a checkpoint, remembers it."""
        raise NotImplementedError

    def put(self, group: ParamGroup, value: float) -> None:
        raise NotImplementedError


class LrUpdaterHook(_UpdaterHook):
    """Sets the learning rate of each parameter group before each iteration.

    Args:
        schedule: of the learning rate.
    """

    priority = 'VERY_HIGH'

    def base(self, group: ParamGroup) -> float:
        group.setdefault('initial_lr', group['lr'])
        return float(group['initial_lr'])

    def put(self, group: ParamGroup, value: float) -> None:
        group['lr'] = value


class MomentumUpdaterHook(_UpdaterHook):
    """Sets the momentum (SGD) or the first beta (Adam and its kin) of each parameter group before each iteration.

    Args:
        schedule: of the momentum.
    """

    priority = 'HIGH'

    def base(self, group: ParamGroup) -> float:
        if 'momentum' not in group and 'betas' not in group:
            raise InvalidValueError('the optimizer has no momentum', key='momentum_config')
        present = group['momentum'] if 'momentum' in group else group['betas'][0]
        group.setdefault('initial_momentum', present)
        return float(group['initial_momentum'])

    def put(self, group: ParamGroup, value: float) -> None:
        if 'momentum' in group:
            group['momentum'] = value
        else:
            group['betas'] = (value, *group['betas'][1:])


Reader = Callable[[Mapping[str, Any]], Schedule]


def _hook_of_policy(hook: type[_UpdaterHook], read: Reader, policy: str, **arguments: Any) -> Hook:
    return hook(read({'policy': policy, **arguments}))


def _register(policies: Registry[Curve], hook: type[_UpdaterHook], read: Reader) -> None:
    """Each policy under the name of mmcv's hook too: 'step' as StepLrUpdaterHook."""
    for policy in policies.names():
        name = (policy.title() if policy.islower() else policy) + hook.__name__
        HOOKS.register_module(name=name, module=partial(_hook_of_policy, hook, read, policy))


_register(LR_POLICIES, LrUpdaterHook, read_lr_config)
_register(MOMENTUM_POLICIES, MomentumUpdaterHook, read_momentum_config)
