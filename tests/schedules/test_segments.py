from __future__ import annotations

import pytest

from mmkit.schedules import Clock, Schedule, Segment, Track, values_along
from mmkit.schedules.curves import Constant, Exponential, OneCycle, Poly, Steps, WarmUp

LENGTH = Clock(0, 0, max_epochs=3, max_iters=6, iters_per_epoch=2)


def along(*segments, recursive=False, base=1.0):
    return [row[0] for row in values_along(Schedule(segments, recursive), [base], LENGTH)]


def test_segments_compose_from_the_base_value():
    steps = Segment(Steps([1], 0.1))
    warm_up = Segment(WarmUp('linear', 0.2), 'iteration', end=4)
    assert along(steps) == pytest.approx([1, 1, 0.1, 0.1, 0.1, 0.1])
    assert along(steps, warm_up) == pytest.approx([0.2, 0.4, 0.06, 0.08, 0.1, 0.1])


def test_segments_update_the_value_before():
    halves = Segment(Exponential(0.5), 'iteration', begin=1, end=4)
    assert along(halves, recursive=True) == [1, 1, 0.5, 0.25, 0.25, 0.25]
    assert along(halves) == [1, 1, 0.5, 0.25, 1, 1]


def test_bounds_and_steps_may_be_in_different_units():
    line = Poly()
    assert along(Segment(line, 'epoch', 1, 2, 'iteration')) == [1, 1, 1, 0.5, 1, 1]
    assert along(Segment(line, 'iteration', 1, None, 'epoch')) == [1, 1, 1, 1, 0.5, 0.5]  # from the next epoch on


def test_groups_have_their_own_values():
    cycle = Segment(OneCycle(start=[1.0, 2.0], peak=3.0, end=0.5, up=0.5, strategy='linear'), 'iteration')
    first, last = values_along(Schedule((cycle,)), [9.0, 9.0], LENGTH, at=[0, 5])
    assert (first, last) == ([1, 2], [0.5, 1])
    with pytest.raises(ValueError, match='max_lr has 2 values'):
        Track(Schedule((cycle,)), [1.0])


def test_zero_stays_zero_and_what_follows_zero_begins_from_the_base_value():
    assert along(Segment(Exponential(0.5), 'iteration'), recursive=True, base=0.0) == [0] * 6
    assert along(Segment(Constant(0.0), 'iteration', end=3), recursive=True) == [0, 0, 1, 1, 1, 1]
