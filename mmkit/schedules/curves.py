"""Curves: the value of a hyper-parameter over a part of a training.

A curve is a shape between an end value and the value it starts from: `end + (value - end) * shape`. Taken from the base
value at every step (`value`) it is mmdetection 2.x's policy; as a change of the value that the step before left
(`update`) it is mmengine's scheduler, which other schedulers may change in between.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, NamedTuple

from mmkit.errors import InvalidValueError

WarmUpKind = Literal['constant', 'linear', 'exp', 'square']


class Position(NamedTuple):
    """A step of a segment.

    Attributes:
        step: steps since the beginning of the segment; at or beyond `length` after the end of the training.
        length: steps in the segment.
        per_epoch: steps in an epoch.
        per_unit: steps in the unit in which the segment's times are given.
    """

    step: int
    length: int
    per_epoch: int = 1
    per_unit: int = 1

    @property
    def share(self) -> float:
        """Share of the segment that is over, at most 1."""
        return min(self.step / max(self.length, 1), 1.0)

    @property
    def before(self) -> Position:
        return self._replace(step=self.step - 1)


class Curve:
    """Base class: a shape, and the value it tends to."""

    def shape(self, at: Position) -> float:
        """1 at the value that the curve starts from, 0 at its end value."""
        raise NotImplementedError

    def end_value(self, base: float) -> float:
        return 0.0

    def bases(self, bases: list[float]) -> list[float]:
        """Base values of all parameter groups; a curve with values of its own replaces them."""
        return bases

    def value(self, base: float, at: Position) -> float:
        """The value at a step, from the base value."""
        end = self.end_value(base)
        return end + (base - end) * self.shape(at)

    def update(self, value: float, base: float, at: Position) -> float:
        """The value at a step, from the value before it.

        Args:
            value: after the step before, changed by other curves.
            base: of the parameter group.
        """
        end = self.end_value(base)
        before = self.shape(at.before) if at.step else 1.0
        if before == 0:  # nothing is left to scale
            return self.value(base, at)
        return end + (value - end) * self.shape(at) / before


@dataclass(frozen=True)
class Constant(Curve):
    """`factor` until the last step, which returns to 1."""

    factor: float = 1.0

    def shape(self, at: Position) -> float:
        return 1.0 if 0 < at.step == at.length - 1 else self.factor


@dataclass(frozen=True)
class Linear(Curve):
    """A straight line from `start` to `end`, which the last step has."""

    start: float
    end: float = 1.0

    def shape(self, at: Position) -> float:
        return _line(self.start, self.end, at.step / max(at.length - 1, 1))


@dataclass(frozen=True)
class WarmUp(Curve):
    """Factor that grows from `ratio` to 1, which the step after the last would have.

    Args:
        kind: 'constant', 'linear', 'exp', or 'square' of the steps (YOLOX, arXiv:2107.08430).
        ratio: 0 < ratio <= 1.
        inverse: from 1 / ratio instead, as momentum falls where the learning rate rises.
    """

    kind: WarmUpKind
    ratio: float
    inverse: bool = False

    def shape(self, at: Position) -> float:
        if self.kind == 'constant':
            factor = self.ratio
        elif self.kind == 'linear':
            factor = _line(self.ratio, 1.0, at.share)
        elif self.kind == 'exp':
            factor = self.ratio ** (1 - at.share)
        else:
            factor = self.ratio * ((at.step + 1) / at.length) ** 2
        return 1 / factor if self.inverse else factor


@dataclass(frozen=True)
class QuadraticWarmUp(Curve):
    """The base value times the square of the share of steps that are taken (YOLOX, arXiv:2107.08430)."""

    def shape(self, at: Position) -> float:
        return ((at.step + 1) / at.length) ** 2

    def update(self, value: float, base: float, at: Position) -> float:
        """Adds to the value, and sets it in the first step."""
        return value + base * (self.shape(at) - self.shape(at.before)) if at.step else base * self.shape(at)


@dataclass(frozen=True)
class Steps(Curve):
    """Times `gamma` at each of `milestones`, or every `milestones` units, down to `lowest`."""

    milestones: int | Sequence[int]
    gamma: float = 0.1
    lowest: float | None = None

    def shape(self, at: Position) -> float:
        units = at.step // at.per_unit
        if isinstance(self.milestones, int):
            return self.gamma ** (units // self.milestones)
        return float(self.gamma ** bisect_right(sorted(self.milestones), units))

    def value(self, base: float, at: Position) -> float:
        value = super().value(base, at)
        return value if self.lowest is None else max(value, self.lowest)


@dataclass(frozen=True)
class Exponential(Curve):
    """Times `gamma` in every step."""

    gamma: float

    def shape(self, at: Position) -> float:
        return float(self.gamma**at.step)


@dataclass(frozen=True)
class Inverse(Curve):
    """(1 + gamma * step) ** -power."""

    gamma: float
    power: float = 1.0

    def shape(self, at: Position) -> float:
        return float((1 + self.gamma * at.step) ** -self.power)


@dataclass(frozen=True, kw_only=True)
class Falling(Curve):
    """Base class of curves that fall to `end`, or to `end_ratio` of the base value."""

    end: float = 0.0
    end_ratio: float | None = None

    def end_value(self, base: float) -> float:
        return self.end if self.end_ratio is None else base * self.end_ratio


@dataclass(frozen=True, kw_only=True)
class Poly(Falling):
    """The share of steps that are left, to the power of `power`.

    Args:
        arrives: the last step is at the end value, not only the one after it.
    """

    power: float = 1.0
    arrives: bool = False

    def shape(self, at: Position) -> float:
        share = at.step / max(at.length - self.arrives, 1)
        return float(max(1 - share, 0.0) ** self.power)


@dataclass(frozen=True, kw_only=True)
class Cosine(Falling):
    """Half a cosine (arXiv:1608.03983).

    Args:
        half_period: units from the beginning to the end value, from where a longer segment goes up again; None: the
            whole segment.
    """

    half_period: int | None = None

    def shape(self, at: Position) -> float:
        return _half_cosine(at.step / (self.half_period * at.per_unit) if self.half_period else at.share)


@dataclass(frozen=True, kw_only=True)
class FlatCosine(Falling):
    """Flat for the share `flat` of the steps, then half a cosine."""

    flat: float = 0.75

    def shape(self, at: Position) -> float:
        flat = round(at.length * self.flat)
        return _half_cosine(min(max(at.step - flat, 0) / max(at.length - flat, 1), 1.0))


@dataclass(frozen=True, kw_only=True)
class CosineBeforeLastEpochs(Falling):
    """Half a cosine that is over `num_last_epochs` before the end (YOLOX, arXiv:2107.08430)."""

    num_last_epochs: int

    def shape(self, at: Position) -> float:
        length = at.length - self.num_last_epochs * at.per_epoch
        return 0.0 if at.step + 1 >= length else _half_cosine((at.step + 1) / length)


@dataclass(frozen=True, kw_only=True)
class CosineRestarts(Falling):
    """Half a cosine in each period (arXiv:1608.03983).

    Args:
        periods: their lengths, in units.
        weights: of each period's start, as multiples of the base value.
    """

    periods: Sequence[int]
    weights: Sequence[float]

    def _place(self, at: Position) -> tuple[int, float, bool]:
        """Index of the period of a step, share of that period that is over, and whether the step is its first."""
        ends = [end * at.per_unit for end in accumulate(self.periods)]
        if at.step >= ends[-1]:
            return len(ends) - 1, 1.0, False
        index = bisect_right(ends, at.step)
        length = self.periods[index] * at.per_unit
        step = at.step - (ends[index] - length)
        return index, step / length, step == 0

    def shape(self, at: Position) -> float:
        index, share, _ = self._place(at)
        return self.weights[index] * _half_cosine(share)

    def value(self, base: float, at: Position) -> float:
        end = sum(self.periods) * at.per_unit
        if end < at.length:
            raise InvalidValueError(
                f'the periods {list(self.periods)} end at {end}, but the training goes on to {at.length}', key='periods'
            )
        return super().value(base, at)

    def update(self, value: float, base: float, at: Position) -> float:
        """The first step of a period begins anew; after the last period nothing changes."""
        index, share, is_first = self._place(at)
        if is_first:
            return base * self.weights[index]
        return value if share == 1 else super().update(value, base, at)


@dataclass(frozen=True)
class Cyclic(Curve):
    """Up to a multiple of the base value and down again, several times (arXiv:1506.01186).

    Args:
        high, low: multiples of the base value.
        cycles: in the segment.
        up: share of a cycle that goes up.
        strategy: 'cos' or 'linear'.
        gamma: every cycle's amplitude is `gamma` times that of the one before.
    """

    high: float
    low: float
    cycles: int = 1
    up: float = 0.4
    strategy: str = 'cos'
    gamma: float = 1.0

    def shape(self, at: Position) -> float:
        length = max(at.length // self.cycles, 1)
        up = int(self.up * length)
        cycle, step = divmod(at.step, length)
        amplitude = self.gamma**cycle
        high = 1 - amplitude + self.high * amplitude
        if step < up:
            return _anneal(self.strategy, 1.0, high, step / up)
        return _anneal(self.strategy, high, self.low, (step - up) / (length - up))


@dataclass(frozen=True, kw_only=True)
class OneCycle(Curve):
    """Up to a peak and far down, once (arXiv:1708.07120); upside down for momentum.

    Args:
        start: value of the first step, one number or one for each parameter group; the base value plays no role.
        peak, end: multiples of `start`.
        total_steps: units of the cycle; None: the whole segment.
        up: share of the cycle before the peak.
        strategy: 'cos' or 'linear'.
        three_phase: go back to the start symmetrically first, then to the end.
    """

    start: float | Sequence[float]
    peak: float
    end: float
    total_steps: int | None = None
    up: float = 0.3
    strategy: str = 'cos'
    three_phase: bool = False

    def bases(self, bases: list[float]) -> list[float]:
        if isinstance(self.start, (int, float)):
            return [self.start] * len(bases)
        if len(self.start) != len(bases):
            raise InvalidValueError(
                f'max_lr has {len(self.start)} values, but there are {len(bases)} parameter groups', key='max_lr'
            )
        return list(self.start)

    def shape(self, at: Position) -> float:
        steps = self.total_steps * at.per_unit if self.total_steps else at.length
        if steps < at.length:
            raise InvalidValueError(
                f'total_steps is {steps}, but the training has {at.length} iterations', key='total_steps'
            )
        turn = self.up * steps - 1
        phases = [(turn, 1.0, self.peak), (steps - 1, self.peak, self.end)]
        if self.three_phase:
            phases = [phases[0], (2 * turn, self.peak, 1.0), (steps - 1, 1.0, self.end)]
        begin = 0.0
        for last, first_value, last_value in phases:
            if at.step <= last:
                share = (at.step - begin) / (last - begin) if last > begin else 1.0
                return _anneal(self.strategy, first_value, last_value, share)
            begin = last
        return self.end

    def update(self, value: float, base: float, at: Position) -> float:
        """Independent of the value before."""
        return self.value(base, at)


def _half_cosine(share: float) -> float:
    return (1 + math.cos(math.pi * share)) / 2


def _line(start: float, end: float, share: float) -> float:
    return start + (end - start) * share


def _anneal(strategy: str, start: float, end: float, share: float) -> float:
    return _line(start, end, share if strategy == 'linear' else 1 - _half_cosine(share))
