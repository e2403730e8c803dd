"""Schedules in either dialect.

A policy of 2.x applies its warm-up to the value of the policy at each step; schedulers of 3.x change the value that the
step before left. Both give the same rates where all they do is multiply: that is, unless a curve that ends above zero
meets a warm-up. A scheduler's last step has its end value, a policy's one comes one step later, so an `end` of 3.x is
one more than the length of 2.x.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmkit.dialects.writing.notes import Notes
from mmkit.schedules import Curve, Schedule, curves
from mmkit.schedules.curves import Falling


@dataclass(frozen=True)
class Length:
    """Length of a training: epochs or iterations."""

    number: int
    by_epoch: bool


def length_of(loop: Mapping[str, Any]) -> Length:
    """The length of a recipe's loop."""
    if 'max_epochs' in loop:
        return Length(loop['max_epochs'], by_epoch=True)
    return Length(loop.get('max_iters', 0), by_epoch=False)


def meets_warm_up(schedule: Schedule) -> bool:
    """True if a curve falls to more than zero from the beginning on, where a warm-up may be going on."""
    falling = [
        segment.curve for segment in schedule.segments if isinstance(segment.curve, Falling) and not segment.begin
    ]
    return any((curve.end or curve.end_ratio) and not isinstance(curve, curves.FlatCosine) for curve in falling)


def note_restarts(curve: Curve, key: str, notes: Notes) -> None:
    """A restart of 2.x weighs what is above the end value, one of 3.x the whole value."""
    if isinstance(curve, curves.CosineRestarts) and set(curve.weights) != {1} and (curve.end or curve.end_ratio):
        notes.add(f'{key}: restarts with weights meet an end value above zero: not to the last digit')
