"""Policies: what becomes of a learning rate or a momentum in the course of a training."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from mmkit.registry import Registry

LR_POLICIES: Registry[Policy] = Registry('learning-rate policy')
MOMENTUM_POLICIES: Registry[Policy] = Registry('momentum policy')


@dataclass(frozen=True)
class Progress:
    """The clock in the unit of a schedule, epochs or iterations."""

    done: int
    total: int
    per_epoch: int  # units in an epoch: 1, or iterations
    warmup: int  # units of warmup


class Policy:
    """From a base value to the value at some progress."""

    def start(self, bases: list[float]) -> list[float]:
        """The base values of all parameter groups; a policy with values of its own replaces them."""
        return bases

    def at(self, base: float, now: Progress) -> float:
        raise NotImplementedError


def _cos(start: float, end: float, share: float, weight: float = 1.0) -> float:
    return end + 0.5 * weight * (start - end) * (math.cos(math.pi * share) + 1)


def _linear(start: float, end: float, share: float) -> float:
    return start + (end - start) * share


def _anneal(strategy: str, start: float, end: float, share: float) -> float:
    return _cos(start, end, share) if strategy == 'cos' else _linear(start, end, share)


def _check_strategy(strategy: str) -> None:
    if strategy not in ('cos', 'linear'):
        raise ValueError(f"anneal_strategy is {strategy!r}, expected 'cos' or 'linear'")


@dataclass(frozen=True)
class _WithFloor(Policy):
    """Goes down to `min_lr` or to `min_lr_ratio` of the base; exactly one of them is given."""

    min_lr: float | None = None
    min_lr_ratio: float | None = None

    def __post_init__(self) -> None:
        if (self.min_lr is None) == (self.min_lr_ratio is None):
            raise ValueError(
                f'{type(self).__name__} needs either an absolute or a relative end value: '
                f'min={self.min_lr}, min_ratio={self.min_lr_ratio}'
            )

    def floor(self, base: float) -> float:
        if self.min_lr is not None:
            return self.min_lr
        assert self.min_lr_ratio is not None
        return base * self.min_lr_ratio


@LR_POLICIES.register_module(name='fixed')
@dataclass(frozen=True)
class Fixed(Policy):
    """Always the base value."""

    def at(self, base: float, now: Progress) -> float:
        return base


@LR_POLICIES.register_module(name='step')
@dataclass(frozen=True)
class Step(Policy):
    """Times `gamma` at each of the moments in `step`, or every `step` units."""

    step: int | Sequence[int]
    gamma: float = 0.1
    min_lr: float | None = None

    def __post_init__(self) -> None:
        steps = [self.step] if isinstance(self.step, int) else list(self.step)
        if any(not isinstance(step, int) or step <= 0 for step in steps):
            raise ValueError(f'step must be a positive number or a list of them, got {self.step!r}')

    def at(self, base: float, now: Progress) -> float:
        if isinstance(self.step, int):
            drops = now.done // self.step
        else:
            drops = bisect_right(sorted(self.step), now.done)
        value = base * self.gamma**drops
        return value if self.min_lr is None else max(value, self.min_lr)


@LR_POLICIES.register_module(name='exp')
@dataclass(frozen=True)
class Exp(Policy):
    """Times `gamma` every unit."""

    gamma: float

    def at(self, base: float, now: Progress) -> float:
        return float(base * self.gamma**now.done)


@LR_POLICIES.register_module(name='poly')
@dataclass(frozen=True)
class Poly(Policy):
    """Down to `min_lr` at the end, as the remaining share to the power of `power`."""

    power: float = 1.0
    min_lr: float = 0.0

    def at(self, base: float, now: Progress) -> float:
        return float((base - self.min_lr) * (1 - now.done / now.total) ** self.power + self.min_lr)


@LR_POLICIES.register_module(name='inv')
@dataclass(frozen=True)
class Inv(Policy):
    """base * (1 + gamma * done) ** -power."""

    gamma: float
    power: float = 1.0

    def at(self, base: float, now: Progress) -> float:
        return float(base * (1 + self.gamma * now.done) ** -self.power)


@LR_POLICIES.register_module(name='CosineAnnealing')
@dataclass(frozen=True)
class CosineAnnealing(_WithFloor):
    """Half a cosine from the base to the floor (arXiv:1608.03983)."""

    def at(self, base: float, now: Progress) -> float:
        return _cos(base, self.floor(base), now.done / now.total)


@LR_POLICIES.register_module(name='LinearAnnealing')
@dataclass(frozen=True)
class LinearAnnealing(_WithFloor):
    """A straight line from the base to the floor."""

    def at(self, base: float, now: Progress) -> float:
        return _linear(base, self.floor(base), now.done / now.total)


@LR_POLICIES.register_module(name='FlatCosineAnnealing')
@dataclass(frozen=True)
class FlatCosineAnnealing(_WithFloor):
    """The base for `start_percent` of the training, then half a cosine to the floor."""

    start_percent: float = 0.75

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.start_percent <= 1:
            raise ValueError(f'start_percent is {self.start_percent}, expected 0 to 1')

    def at(self, base: float, now: Progress) -> float:
        flat = round(now.total * self.start_percent)
        return base if now.done < flat else _cos(base, self.floor(base), (now.done - flat) / max(now.total - flat, 1))


@LR_POLICIES.register_module(name='CosineRestart')
@dataclass(frozen=True)
class CosineRestart(Policy):
    """Half a cosine per period, each starting at its weight (arXiv:1608.03983).

    Args:
        periods: lengths, which sum to the length of the training.
        restart_weights: of each period.
        min_lr, min_lr_ratio: end of the cosine, absolute or relative to the base; exactly one of them.
    """

    periods: Sequence[int]
    restart_weights: Sequence[float] = (1,)
    min_lr: float | None = None
    min_lr_ratio: float | None = None

    def __post_init__(self) -> None:
        if len(self.periods) != len(self.restart_weights):
            raise ValueError(
                f'{len(self.periods)} periods, but {len(self.restart_weights)} restart_weights: '
                f'{list(self.periods)}, {list(self.restart_weights)}'
            )
        if (self.min_lr is None) == (self.min_lr_ratio is None):
            raise ValueError(f'give either min_lr ({self.min_lr}) or min_lr_ratio ({self.min_lr_ratio})')

    def at(self, base: float, now: Progress) -> float:
        ends = list(accumulate(self.periods))
        index = bisect_right(ends, now.done)
        if index == len(ends):
            raise ValueError(
                f'the periods {list(self.periods)} end at {ends[-1]}, but the training goes on to {now.total}'
            )
        share = (now.done - (ends[index] - self.periods[index])) / self.periods[index]
        end = self.min_lr if self.min_lr is not None else base * (self.min_lr_ratio or 0.0)
        return _cos(base, end, share, self.restart_weights[index])


@LR_POLICIES.register_module(name='cyclic')
@dataclass(frozen=True)
class Cyclic(Policy):
    """Up to a multiple of the base and down again, several times (arXiv:1506.01186).

    Args:
        target_ratio: (highest, lowest) as multiples of the base; a single number r means (r, r / 1e5).
        cyclic_times: number of cycles in the training.
        step_ratio_up: share of a cycle that goes up.
        anneal_strategy: 'cos' or 'linear'.
        gamma: every cycle's amplitude is `gamma` times that of the one before.
    """

    target_ratio: float | Sequence[float] = (10, 1e-4)
    cyclic_times: int = 1
    step_ratio_up: float = 0.4
    anneal_strategy: str = 'cos'
    gamma: float = 1.0

    def __post_init__(self) -> None:
        _check_strategy(self.anneal_strategy)
        if not isinstance(self.target_ratio, (int, float)) and len(self.target_ratio) not in (1, 2):
            raise ValueError(f'target_ratio must be one or two numbers, got {self.target_ratio!r}')
        if not 0 <= self.step_ratio_up < 1:
            raise ValueError(f'step_ratio_up is {self.step_ratio_up}, expected 0 <= step_ratio_up < 1')
        if not 0 < self.gamma <= 1:
            raise ValueError(f'gamma is {self.gamma}, expected 0 < gamma <= 1')

    def _targets(self) -> tuple[float, float]:
        if isinstance(self.target_ratio, (int, float)):
            return self.target_ratio, self.target_ratio / 1e5
        return self.target_ratio[0], self.target_ratio[-1] if len(self.target_ratio) == 2 else self.target_ratio[
            0
        ] / 1e5

    def at(self, base: float, now: Progress) -> float:
        length = max(now.total // self.cyclic_times, 1)
        up = int(self.step_ratio_up * length)
        cycle, done = divmod(now.done, length)
        amplitude = self.gamma**cycle
        high, low = self._targets()
        high = 1 - amplitude + high * amplitude
        if done < up:
            return _anneal(self.anneal_strategy, base, base * high, done / up)
        return _anneal(self.anneal_strategy, base * high, base * low, (done - up) / (length - up))


@dataclass(frozen=True)
class _Phases(Policy):
    """Annealing from one multiple of the base to the next, at given moments."""

    anneal_strategy: str = 'cos'

    def phases(self, total: int) -> list[tuple[float, float, float]]:
        """(end, multiple at the start, multiple at the end) of each phase."""
        raise NotImplementedError

    def at(self, base: float, now: Progress) -> float:
        begin, value = 0.0, base
        for end, first, last in self.phases(now.total):
            if now.done <= end:
                return _anneal(self.anneal_strategy, base * first, base * last, (now.done - begin) / (end - begin))
            begin, value = end, base * last
        return value


@LR_POLICIES.register_module(name='OneCycle')
@dataclass(frozen=True, kw_only=True)
class OneCycle(_Phases):
    """Up to `max_lr` and far down, once (arXiv:1708.07120).

    Args:
        max_lr: the peak, one number or one for each parameter group; the optimizer's own rate plays no role.
        total_steps: iterations of the cycle; None is the whole training.
        pct_start: share of the cycle that goes up.
        anneal_strategy: 'cos' or 'linear'.
        div_factor: the start is max_lr / div_factor.
        final_div_factor: the end is the start / final_div_factor.
        three_phase: go down to the start symmetrically first, then to the end.
    """

    max_lr: float | Sequence[float]
    total_steps: int | None = None
    pct_start: float = 0.3
    div_factor: float = 25
    final_div_factor: float = 1e4
    three_phase: bool = False

    def __post_init__(self) -> None:
        _check_strategy(self.anneal_strategy)
        if not 0 <= self.pct_start <= 1:
            raise ValueError(f'pct_start is {self.pct_start}, expected 0 to 1')

    def start(self, bases: list[float]) -> list[float]:
        peaks = [self.max_lr] * len(bases) if isinstance(self.max_lr, (int, float)) else list(self.max_lr)
        if len(peaks) != len(bases):
            raise ValueError(f'max_lr has {len(peaks)} values, but there are {len(bases)} parameter groups')
        return [peak / self.div_factor for peak in peaks]

    def phases(self, total: int) -> list[tuple[float, float, float]]:
        steps = self.total_steps or total
        if steps < total:
            raise ValueError(f'total_steps is {steps}, but the training has {total} iterations')
        peak, last = self.div_factor, 1 / self.final_div_factor
        up = self.pct_start * steps - 1
        if self.three_phase:
            return [(up, 1, peak), (2 * self.pct_start * steps - 2, peak, 1), (steps - 1, 1, last)]
        return [(up, 1, peak), (steps - 1, peak, last)]


@LR_POLICIES.register_module(name='YOLOX')
@dataclass(frozen=True, kw_only=True)
class YOLOX(_WithFloor):
    """Cosine between the warmup and the last epochs, which stay at the floor (arXiv:2107.08430).

    Its warmup 'exp' grows with the square of the iterations.
    """

    num_last_epochs: int

    def at(self, base: float, now: Progress) -> float:
        flat = now.per_epoch * self.num_last_epochs
        if now.done + 1 >= now.total - flat:
            return self.floor(base)
        return _cos(base, self.floor(base), (now.done + 1 - now.warmup) / (now.total - now.warmup - flat))


@MOMENTUM_POLICIES.register_module(name='fixed')
def _fixed_momentum() -> Policy:
    return Fixed()


@MOMENTUM_POLICIES.register_module(name='step')
def _step_momentum(step: int | Sequence[int], gamma: float = 0.5, min_momentum: float | None = None) -> Policy:
    return Step(step, gamma, min_momentum)


@MOMENTUM_POLICIES.register_module(name='CosineAnnealing')
def _cosine_momentum(min_momentum: float | None = None, min_momentum_ratio: float | None = None) -> Policy:
    return CosineAnnealing(min_momentum, min_momentum_ratio)


@MOMENTUM_POLICIES.register_module(name='LinearAnnealing')
def _linear_momentum(min_momentum: float | None = None, min_momentum_ratio: float | None = None) -> Policy:
    return LinearAnnealing(min_momentum, min_momentum_ratio)


@MOMENTUM_POLICIES.register_module(name='cyclic')
def _cyclic_momentum(
    target_ratio: float | Sequence[float] = (0.85 / 0.95, 1.0),
    cyclic_times: int = 1,
    step_ratio_up: float = 0.4,
    anneal_strategy: str = 'cos',
    gamma: float = 1.0,
) -> Policy:
    if isinstance(target_ratio, (int, float)):
        target_ratio = (target_ratio, target_ratio)
    return Cyclic(target_ratio, cyclic_times, step_ratio_up, anneal_strategy, gamma)


@MOMENTUM_POLICIES.register_module(name='OneCycle')
@dataclass(frozen=True)
class OneCycleMomentum(_Phases):
    """From `max_momentum` down to `base_momentum` and back, opposite to the learning rate's one cycle."""

    base_momentum: float = 0.85
    max_momentum: float = 0.95
    pct_start: float = 0.3
    three_phase: bool = False

    def __post_init__(self) -> None:
        _check_strategy(self.anneal_strategy)

    def start(self, bases: list[float]) -> list[float]:
        return [self.max_momentum] * len(bases)

    def phases(self, total: int) -> list[tuple[float, float, float]]:
        low, up = self.base_momentum / self.max_momentum, self.pct_start * total - 1
        if self.three_phase:
            return [(up, 1, low), (2 * self.pct_start * total - 2, low, 1), (total - 1, 1, 1)]
        return [(up, 1, low), (total - 1, low, 1)]
