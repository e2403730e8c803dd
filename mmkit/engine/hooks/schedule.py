"""Learning rate and momentum along a schedule."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch.optim import Optimizer

from mmkit.engine.hook import Hook
from mmkit.engine.policies import LR_POLICIES, MOMENTUM_POLICIES
from mmkit.engine.runner import Runner
from mmkit.engine.schedules import Schedule, build_lr_schedule, build_momentum_schedule
from mmkit.registry import HOOKS, Registry


class LrUpdaterHook(Hook):
    """Sets the learning rate of each parameter group before each iteration.

    Args:
        schedule: of the learning rate.
    """

    priority = 'VERY_HIGH'

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    @classmethod
    def from_config(cls, lr_config: Mapping[str, Any]) -> LrUpdaterHook:
        return cls(build_lr_schedule(lr_config))

    def before_run(self, runner: Runner) -> None:
        for group in _groups(runner):
            group.setdefault('initial_lr', group['lr'])

    def before_train_iter(self, runner: Runner) -> None:
        groups = _groups(runner)
        values = self.schedule.values([group['initial_lr'] for group in groups], runner.clock)
        for group, value in zip(groups, values):
            group['lr'] = value


class MomentumUpdaterHook(Hook):
    """Sets the momentum (SGD) or the first beta (Adam and its kin) of each parameter group before each iteration.

    Args:
        schedule: of the momentum.
    """

    priority = 'HIGH'

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    @classmethod
    def from_config(cls, momentum_config: Mapping[str, Any]) -> MomentumUpdaterHook:
        return cls(build_momentum_schedule(momentum_config))

    def before_run(self, runner: Runner) -> None:
        for group in _groups(runner):
            if 'momentum' not in group and 'betas' not in group:
                raise ValueError(f'momentum_config: {type(runner.optimizer).__name__} has no momentum')
            group.setdefault('initial_momentum', group['momentum'] if 'momentum' in group else group['betas'][0])

    def before_train_iter(self, runner: Runner) -> None:
        groups = _groups(runner)
        values = self.schedule.values([group['initial_momentum'] for group in groups], runner.clock)
        for group, value in zip(groups, values):
            if 'momentum' in group:
                group['momentum'] = value
            else:
                group['betas'] = (value, *group['betas'][1:])


def _groups(runner: Runner) -> list[dict[str, Any]]:
    optimizer: Optimizer | None = runner.optimizer
    assert optimizer is not None
    return optimizer.param_groups


def _from_policy(hook: Any, policy: str, **arguments: Any) -> Hook:
    made: Hook = hook.from_config({'policy': policy, **arguments})
    return made


def _register(policies: Registry, hook: type[Hook]) -> None:
    """Each policy under the name of mmcv's hook too: 'step' as StepLrUpdaterHook."""
    for policy in policies.names():
        name = (policy.title() if policy.islower() else policy) + hook.__name__
        HOOKS.register_module(name=name, module=partial(_from_policy, hook, policy))


_register(LR_POLICIES, LrUpdaterHook)
_register(MOMENTUM_POLICIES, MomentumUpdaterHook)
