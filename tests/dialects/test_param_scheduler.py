"""Curves by hand; tests/parity/test_schedules.py has recorded ones."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

from mmkit.dialects import param_curve
from mmkit.dialects.param_scheduler import read_param_scheduler
from mmkit.errors import UserError
from mmkit.schedules import Clock, Track


def curve(*schedulers, base=1.0, epochs=4, iters=2, quantity='lr'):
    rows = param_curve(schedulers, [base], epochs, None, iters, quantity=quantity)
    return [row[0] for row in rows]


@pytest.mark.parametrize(
    ('scheduler', 'expected'),
    [
        ({'type': 'ConstantLR', 'factor': 0.5, 'end': 3}, [0.5, 0.5, 1, 1]),
        ({'type': 'LinearLR', 'start_factor': 0.25, 'end': 4}, [0.25, 0.5, 0.75, 1]),
        ({'type': 'ExponentialLR', 'gamma': 0.5}, [1, 0.5, 0.25, 0.125]),
        ({'type': 'StepLR', 'step_size': 2, 'gamma': 0.5}, [1, 1, 0.5, 0.5]),
        ({'type': 'MultiStepLR', 'milestones': [1, 3, 3], 'gamma': 0.5}, [1, 0.5, 0.5, 0.125]),
        ({'type': 'MultiStepLR', 'milestones': [1], 'begin': 1}, [1, 1, 0.1, 0.1]),
        ({'type': 'PolyLR', 'power': 2, 'eta_min': 0.1}, [1, 0.1 + 0.9 * 4 / 9, 0.2, 0.1]),
        ({'type': 'CosineAnnealingLR'}, [1, 0.5 + math.sqrt(0.125), 0.5, 0.5 - math.sqrt(0.125)]),
        ({'type': 'CosineAnnealingLR', 'T_max': 2, 'eta_min_ratio': 0.2}, [1, 0.6, 0.2, 0.6]),
        ({'type': 'CosineRestartLR', 'periods': [2, 2], 'restart_weights': [1, 0.5]}, [1, 0.5, 0.5, 0.25]),
        ({'type': 'QuadraticWarmupLR'}, [1 / 16, 4 / 16, 9 / 16, 1]),
        ({'type': 'mmdet.QuadraticWarmupLR', 'end': 2}, [1 / 4, 1, 1, 1]),
        (
            {'type': 'OneCycleLR', 'eta_max': 5, 'div_factor': 5, 'pct_start': 0.5, 'anneal_strategy': 'linear'},
            [1, 5, 2.50005, 1e-4],
        ),
    ],
)
def test_schedulers_by_hand(scheduler, expected):
    assert curve(scheduler, iters=1) == pytest.approx(expected)
    assert curve({**scheduler, 'by_epoch': False}, epochs=1, iters=4) == pytest.approx(expected)
    twin = {**scheduler, 'type': scheduler['type'].replace('LR', 'ParamScheduler'), 'param_name': 'weight_decay'}
    assert curve(twin, iters=1, quantity='weight_decay') == pytest.approx(expected)


def test_epochs_become_iterations():
    scheduler = {'type': 'MultiStepLR', 'milestones': [1], 'begin': 1, 'end': 3, 'convert_to_iter_based': True}
    assert curve(scheduler) == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1])
    scheduler = {'type': 'LinearLR', 'start_factor': 0.25, 'begin': 1, 'end': 3, 'convert_to_iter_based': True}
    assert curve(scheduler) == pytest.approx([1, 1, 0.25, 0.5, 0.75, 1, 1, 1])


def test_each_acts_on_what_the_others_left():
    warm_up = {'type': 'LinearLR', 'start_factor': 0.5, 'by_epoch': False, 'end': 3}
    cosine = {'type': 'CosineAnnealingLR', 'eta_min': 0.1}
    before, after = (
        0.1 + 0.65 * (1 + math.cos(math.pi / 4)) / 2,
        (1 + math.cos(math.pi / 2)) / (1 + math.cos(math.pi / 4)),
    )
    # At the end of epoch 1 the warm-up makes 1 of 0.75 first, then the cosine takes its share of the way to 0.1.
    expected = [0.5, 0.75, 0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2]
    assert curve(warm_up, cosine)[:3] == curve(cosine, warm_up)[:3] == pytest.approx(expected)
    assert curve(warm_up, cosine)[4] == pytest.approx(0.1 + (expected[2] - 0.1) * after)
    assert before < expected[2]


def test_momentum_is_apart_from_the_rate():
    schedulers = [{'type': 'StepLR', 'step_size': 1}, {'type': 'LinearMomentum', 'start_factor': 0.5, 'end': 2}]
    assert curve(*schedulers, iters=1, epochs=2) == pytest.approx([1, 0.1])
    assert curve(*schedulers, iters=1, epochs=2, quantity='momentum') == pytest.approx([0.5, 1])
    assert curve(schedulers[1], iters=1, epochs=2) == [1, 1]
    assert param_curve(schedulers[0], [1.0], 2, None, 1) == [[1.0], [pytest.approx(0.1)]]


def test_a_training_that_counts_iterations():
    scheduler = {'type': 'StepLR', 'step_size': 1, 'by_epoch': False}
    assert param_curve([scheduler], [1.0, 2.0], None, 3, 2, at=[2, 0]) == [pytest.approx([0.01, 0.02]), [1.0, 2.0]]
    # Its epochs don't end, as in mmengine.
    assert param_curve([{'type': 'StepLR', 'step_size': 1}], [1.0], None, 3, 1) == [[1.0]] * 3
    with pytest.raises(ValueError, match='either max_epochs or max_iters'):
        param_curve([scheduler], [1.0], 2, 3, 2)


def test_a_resumed_training_finds_its_place():
    schedulers = [
        {'type': 'LinearLR', 'start_factor': 0.1, 'by_epoch': False, 'end': 5},
        {'type': 'CosineAnnealingLR', 'eta_min': 0.01, 'begin': 1},
    ]
    schedule = read_param_scheduler(schedulers)['lr']
    whole = Track(schedule, [1.0])
    values = [whole.values(Clock(i // 3, i, 6, 18, 3)) for i in range(18)]
    for i in (0, 4, 9, 17):
        assert (
            Track(schedule, [1.0]).values(Clock(i // 3, i, 6, 18, 3))
            == values[i]
            == schedule.values([1.0], Clock(i // 3, i, 6, 18, 3))
        )
    assert whole.values(Clock(1, 3, 6, 18, 3)) == values[3]  # also back


def test_epochs_of_another_length_than_before_count_as_epochs():
    """A training that goes on with batches of another size has done as many epochs in other numbers of iterations."""
    schedule = read_param_scheduler([{'type': 'StepLR', 'step_size': 1}])['lr']
    assert schedule.values([1.0], Clock(2, 4, 4, 40, 10)) == [pytest.approx(0.01)]
    assert schedule.values([1.0], Clock(2, 40, 4, 8, 2)) == [pytest.approx(0.01)]


@pytest.mark.parametrize(
    ('scheduler', 'error', 'message'),
    [
        ({'type': 'LineerLR'}, KeyError, 'LinearLR'),
        ({'type': 'LinearLR', 'start': 0.1}, TypeError, 'start_factor'),
        ({'type': 'LinearLR', 'start_factor': 2}, ValueError, 'start_factor is 2'),
        ({'type': 'LinearLR', 'start_factor': 0}, ValueError, 'start_factor is 0'),
        ({'type': 'LinearLR', 'begin': 5, 'end': 5}, ValueError, 'end is 5, expected more than begin'),
        ({'type': 'LinearLR', 'by_epoch': False, 'convert_to_iter_based': True}, ValueError, 'convert_to_iter_based'),
        ({'type': 'LinearLR', 'last_step': 3}, ValueError, 'last_step'),
        ({'type': 'LinearParamScheduler'}, TypeError, 'param_name'),
        ({'type': 'MultiStepLR', 'milestones': 3}, TypeError, 'milestones'),
        ({'type': 'StepLR', 'step_size': 0}, ValueError, 'step_size'),
        ({'type': 'CosineAnnealingLR', 'eta_min': 0, 'eta_min_ratio': 0.1}, ValueError, 'eta_min'),
        ({'type': 'CosineRestartLR', 'periods': [1, 2]}, ValueError, '2 periods, but 1 restart_weights'),
        ({'type': 'ReduceOnPlateauLR', 'monitor': 'loss'}, ValueError, 'MultiStepLR'),
    ],
)
def test_wrong_configs_are_explained(scheduler, error, message):
    with pytest.raises(error, match=message) as caught:
        read_param_scheduler([scheduler])
    assert isinstance(caught.value, UserError)


def test_curves_are_drawn_without_torch():
    code = 'import sys; from mmkit.dialects import param_curve; sys.exit("torch" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code]).returncode == 0
