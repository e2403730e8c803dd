"""Learning rate and momentum as functions of how far the training is.

A `Schedule` is a policy with its warmup and its unit, epochs or iterations. Nothing here knows an optimizer: `lr_curve`
draws the whole curve of a config before a training starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmkit.engine.policies import LR_POLICIES, MOMENTUM_POLICIES, YOLOX, Policy, Progress
from mmkit.errors import InvalidTypeError
from mmkit.registry import Registry, build_from_cfg
from mmkit.utils.names import nearest


@dataclass(frozen=True)
class Clock:
    """Where a training is: epochs and iterations that are done, and how many there will be."""

    epoch: int
    iter: int
    max_epochs: int
    max_iters: int
    iters_per_epoch: int


def _warm_factor(kind: str, ratio: float, share: float) -> float:
    if kind == 'constant':
        return ratio
    if kind == 'linear':
        return 1 - (1 - share) * (1 - ratio)
    return float(ratio ** (1 - share))


@dataclass(frozen=True)
class Schedule:
    """A policy with its warmup.

    Args:
        policy: what happens after the warmup.
        by_epoch: the policy counts epochs, otherwise iterations.
        warmup: None, 'constant', 'linear' or 'exp'.
        warmup_iters: length of the warmup, in epochs with `warmup_by_epoch`.
        warmup_ratio: of the regular value, at the start of the warmup.
        inverse: warm up from above (momentum) instead of from below.
    """

    policy: Policy
    by_epoch: bool = True
    warmup: str | None = None
    warmup_iters: int = 0
    warmup_ratio: float = 0.1
    warmup_by_epoch: bool = False
    inverse: bool = False

    def __post_init__(self) -> None:
        if self.warmup is None:
            return
        if self.warmup not in ('constant', 'linear', 'exp'):
            raise ValueError(f"warmup is {self.warmup!r}, expected 'constant', 'linear', 'exp' or None")
        if self.warmup_iters <= 0:
            raise ValueError(f'warmup_iters is {self.warmup_iters}, expected a positive number')
        if not 0 < self.warmup_ratio <= 1:
            raise ValueError(f'warmup_ratio is {self.warmup_ratio}, expected 0 < warmup_ratio <= 1')

    def values(self, bases: Sequence[float], clock: Clock) -> list[float]:
        """The value of every parameter group for the coming iteration, from their base values."""
        warm_iters = self.warmup_iters * (clock.iters_per_epoch if self.warmup_by_epoch else 1) if self.warmup else 0
        if self.by_epoch:
            warm_units = -(-warm_iters // clock.iters_per_epoch)
            now = Progress(clock.epoch, clock.max_epochs, 1, warm_units)
        else:
            now = Progress(clock.iter, clock.max_iters, clock.iters_per_epoch, warm_iters)
        starts = self.policy.start(list(bases))
        regular = [self.policy.at(base, now) for base in starts]
        if self.warmup is None or clock.iter >= warm_iters:
            return regular
        if isinstance(self.policy, YOLOX):
            return [self.warmup_ratio * base * ((clock.iter + 1) / warm_iters) ** 2 for base in starts]
        factor = _warm_factor(self.warmup, self.warmup_ratio, clock.iter / warm_iters)
        return [value / factor if self.inverse else value * factor for value in regular]


WARMUP_KEYS = ('warmup', 'warmup_iters', 'warmup_ratio', 'warmup_by_epoch')


def build_lr_schedule(lr_config: Mapping[str, Any], by_epoch_runner: bool = True) -> Schedule:
    """`lr_config=dict(policy='step', warmup='linear', ...)` as a schedule.

    Args:
        by_epoch_runner: what `by_epoch` is if the config doesn't say it (cyclic and OneCycle always count iterations).
    """
    return _build(lr_config, LR_POLICIES, 'LrUpdaterHook', by_epoch_runner)


def build_momentum_schedule(momentum_config: Mapping[str, Any], by_epoch_runner: bool = True) -> Schedule:
    """`momentum_config=dict(policy='cyclic', ...)` as a schedule; arguments as in `build_lr_schedule`."""
    return _build(momentum_config, MOMENTUM_POLICIES, 'MomentumUpdaterHook', by_epoch_runner)


def _build(cfg: Mapping[str, Any], policies: Registry, suffix: str, by_epoch_runner: bool) -> Schedule:
    arguments = dict(cfg)
    name = arguments.pop('policy', None) or str(arguments.pop('type', '')).removesuffix(suffix)
    if not name:
        raise KeyError(f"no policy in {dict(cfg)}: expected one such as policy='step'")
    known = {key.lower(): key for key in policies.names()}
    name = known.get(name.lower(), name)
    by_epoch = arguments.pop('by_epoch', by_epoch_runner and name not in ('cyclic', 'OneCycle'))
    if by_epoch and name == 'OneCycle':
        raise ValueError('the OneCycle policy counts iterations: by_epoch=True is not possible')
    warmup = {key: arguments.pop(key) for key in WARMUP_KEYS if key in arguments}
    for key in arguments:
        if key.startswith('warmup'):  # the policy, which knows nothing of a warmup, would name its own arguments
            raise InvalidTypeError(f'there is no {key!r}; the nearest is {nearest(key, WARMUP_KEYS, 1)[0]!r}', key)
    policy = build_from_cfg({'type': name, **arguments}, policies)
    return Schedule(policy=policy, by_epoch=by_epoch, inverse=policies is MOMENTUM_POLICIES, **warmup)


def lr_curve(
    lr_config: Mapping[str, Any],
    base_lrs: Sequence[float],
    max_epochs: int,
    iters_per_epoch: int,
    by_epoch_runner: bool = True,
) -> list[list[float]]:
    """The learning rate of each parameter group at every iteration of a training.

    Args:
        lr_config: as in a config file.
        base_lrs: the optimizer's rate of each parameter group.
        max_epochs, iters_per_epoch: their product is the number of iterations.
        by_epoch_runner: whether an EpochBasedRunner trains, or an IterBasedRunner.

    Returns:
        max_epochs * iters_per_epoch lists of len(base_lrs) numbers.
    """
    schedule = build_lr_schedule(lr_config, by_epoch_runner)
    total = max_epochs * iters_per_epoch
    return [
        schedule.values(base_lrs, Clock(i // iters_per_epoch, i, max_epochs, total, iters_per_epoch))
        for i in range(total)
    ]
