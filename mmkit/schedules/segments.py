"""Schedules: lists of segments, each a curve with begin, end and unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from mmkit.schedules.curves import Curve, Position

Unit = Literal['epoch', 'iteration']


@dataclass(frozen=True)
class Clock:
    """Progress of a training: epochs and iterations that are done, and how many there will be."""

    epoch: int
    iter: int
    max_epochs: int
    max_iters: int
    iters_per_epoch: int

    def done(self, unit: Unit) -> int:
        return self.epoch if unit == 'epoch' else self.iter

    def total(self, unit: Unit) -> int:
        return self.max_epochs if unit == 'epoch' else self.max_iters


@dataclass(frozen=True)
class Segment:
    """A curve over a part of a training.

    Args:
        curve: its values.
        unit: of `begin`, `end` and of the times in the curve: 'epoch' or 'iteration'.
        begin: the first unit.
        end: the unit after the last; None: the end of the training.
        stepping: the unit in which the curve advances; None: `unit`.
    """

    curve: Curve
    unit: Unit = 'epoch'
    begin: int = 0
    end: int | None = None
    stepping: Unit | None = None

    @property
    def step_unit(self) -> Unit:
        return self.stepping or self.unit

    def span(self, clock: Clock) -> Span:
        """The segment in steps of a training with the lengths of the clock."""
        begin, end = self._steps(self.begin, clock), clock.total(self.step_unit)
        if self.end is not None:
            end = self._steps(self.end, clock)
        per_epoch = 1 if self.step_unit == 'epoch' else clock.iters_per_epoch
        return Span(
            curve=self.curve,
            unit=self.step_unit,
            begin=begin,
            end=end,
            is_open=self.end is None,
            per_epoch=per_epoch,
            per_unit=per_epoch if self.unit == 'epoch' else 1,
        )

    def _steps(self, count: int, clock: Clock) -> int:
        if self.unit == self.step_unit:
            return count
        return count * clock.iters_per_epoch if self.unit == 'epoch' else -(-count // clock.iters_per_epoch)


class Span(NamedTuple):
    """A segment in steps of a training whose length is known."""

    curve: Curve
    unit: Unit
    begin: int
    end: int
    is_open: bool  # goes on after the end
    per_epoch: int
    per_unit: int

    def position(self, done: int) -> Position | None:
        """Position after `done` steps of the training; None outside of the segment."""
        if done < self.begin or (done >= self.end and not self.is_open):
            return None
        return Position(done - self.begin, self.end - self.begin, self.per_epoch, self.per_unit)


@dataclass(frozen=True)
class Schedule:
    """Values of a hyper-parameter over a training.

    Args:
        segments: applied in this order.
        recursive: each curve updates the value that the iteration before left (mmengine's schedulers); otherwise it
            takes the value that the segment before it makes of the base value in the same iteration (2.x's policies
            and their warm-up).
    """

    segments: tuple[Segment, ...]
    recursive: bool = False

    def values(self, bases: Sequence[float], clock: Clock) -> list[float]:
        """The value of every parameter group for the coming iteration, from their base values."""
        return Track(self, bases).values(clock)


class Track:
    """The values of a schedule along one training.

    Args:
        schedule: to follow; a recursive one is gone through from the first iteration, once.
        bases: base values of the parameter groups.
    """

    def __init__(self, schedule: Schedule, bases: Sequence[float]) -> None:
        self.schedule = schedule
        own = list(bases)
        for segment in schedule.segments:
            own = segment.curve.bases(own)
        self._groups = list(zip(bases, own))
        self._rewind()

    def _rewind(self) -> None:
        self._epoch = self._iter = -1
        self._values = {group: group[0] for group in self._groups}  # most parameter groups share their base value

    def values(self, clock: Clock) -> list[float]:
        """The value of every parameter group for the coming iteration."""
        spans = [segment.span(clock) for segment in self.schedule.segments]
        if not self.schedule.recursive:
            self._values = {group: _composed(group[1], spans, clock) for group in self._values}
        else:
            if clock.iter < self._iter or clock.epoch < self._epoch:
                self._rewind()
            while self._iter < clock.iter:
                self._advance(spans, clock)
        return [self._values[group] for group in self._groups]

    def _advance(self, spans: Sequence[Span], clock: Clock) -> None:
        """Go on by one iteration, and by the epochs that it completes; the epoch of the last one is the clock's."""
        iteration = self._iter + 1
        is_last = iteration == clock.iter
        epoch = clock.epoch if is_last else min(iteration // clock.iters_per_epoch, clock.epoch)
        for span in spans:
            last, now = (self._epoch, epoch) if span.unit == 'epoch' else (self._iter, iteration)
            for done in range(last + 1, now + 1):
                at = span.position(done)
                if at is not None:
                    for group, value in self._values.items():
                        self._values[group] = span.curve.update(value, group[1], at)
        self._epoch, self._iter = epoch, iteration


def _composed(base: float, spans: Sequence[Span], clock: Clock) -> float:
    value = base
    for span in spans:
        at = span.position(clock.done(span.unit))
        value = value if at is None else span.curve.value(value, at)
    return value


def values_along(
    schedule: Schedule, bases: Sequence[float], clock: Clock, at: Sequence[int] | None = None
) -> list[list[float]]:
    """Values of every parameter group at iterations of a whole training.

    Args:
        clock: its lengths count.
        at: iterations, from 0; None: all.
    """
    track = Track(schedule, bases)
    return [
        track.values(replace(clock, epoch=min(i // clock.iters_per_epoch, clock.max_epochs - 1), iter=i))
        for i in (range(clock.max_iters) if at is None else at)
    ]
