from __future__ import annotations

import math

import pytest

from mmkit.dialects.lr_config import lr_curve, read_lr_config, read_momentum_config
from mmkit.errors import UserError
from mmkit.schedules import Clock


def curve(epochs=4, iters=2, base=1.0, by_epoch_runner=True, **config):
    return [values[0] for values in lr_curve(config, [base], epochs, iters, by_epoch_runner)]


def test_step_drops_at_epochs():
    assert curve(policy='step', step=[1, 3]) == pytest.approx([1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01])
    assert curve(policy='step', step=2, gamma=0.5, min_lr=0.7) == pytest.approx([1, 1, 1, 1, 0.7, 0.7, 0.7, 0.7])


def test_each_group_has_its_base():
    values = lr_curve({'policy': 'exp', 'gamma': 0.5, 'by_epoch': False}, [1.0, 10.0], 1, 3)
    assert values == [[1, 10], [0.5, 5], [0.25, 2.5]]


def test_an_iteration_based_runner_counts_iterations_by_default():
    assert curve(2, 2, by_epoch_runner=False, policy='step', step=[3]) == pytest.approx([1, 1, 1, 0.1])
    assert curve(2, 2, by_epoch_runner=False, policy='step', step=[1], by_epoch=True) == pytest.approx([1, 1, 0.1, 0.1])


@pytest.mark.parametrize(
    ('config', 'expected'),
    [
        ({'policy': 'fixed'}, [1, 1, 1, 1]),
        ({'policy': 'poly', 'power': 2, 'min_lr': 0.2}, [1, 0.2 + 0.8 * 9 / 16, 0.4, 0.25]),
        ({'policy': 'inv', 'gamma': 1}, [1, 1 / 2, 1 / 3, 1 / 4]),
        ({'policy': 'CosineAnnealing', 'min_lr': 0}, [1, 0.5 + math.sqrt(0.125), 0.5, 0.5 - math.sqrt(0.125)]),
        ({'policy': 'LinearAnnealing', 'min_lr_ratio': 0.2}, [1, 0.8, 0.6, 0.4]),
        ({'policy': 'FlatCosineAnnealing', 'start_percent': 0.5, 'min_lr': 0}, [1, 1, 1, 0.5]),
        ({'policy': 'CosineRestart', 'periods': [2, 2], 'restart_weights': [1, 0.5], 'min_lr': 0}, [1, 0.5, 0.5, 0.25]),
        (
            {'policy': 'cyclic', 'target_ratio': (3, 0), 'step_ratio_up': 0.5, 'anneal_strategy': 'linear'},
            [1, 2, 3, 1.5],
        ),
        (
            {'policy': 'OneCycle', 'max_lr': 5, 'div_factor': 5, 'pct_start': 0.5, 'anneal_strategy': 'linear'},
            [1, 5, 2.50005, 1e-4],
        ),
        (
            {'policy': 'OneCycle', 'max_lr': 5, 'div_factor': 5, 'pct_start': 0.5, 'three_phase': True},
            [1, 5, 1, 1e-4],
        ),
    ],
)
def test_policies_by_hand(config, expected):
    assert curve(4, 1, **config) == pytest.approx(expected)
    assert curve(4, 1, by_epoch_runner=False, **config) == pytest.approx(expected)


def test_cyclic_amplitude_shrinks():
    config = {'policy': 'cyclic', 'target_ratio': (3, 1), 'cyclic_times': 2, 'step_ratio_up': 0.5, 'gamma': 0.5}
    assert curve(2, 4, anneal_strategy='linear', **config) == pytest.approx([1, 2, 3, 2, 1, 1.5, 2, 1.5])


def test_warmup():
    def warm(kind):
        return curve(1, 5, policy='fixed', warmup=kind, warmup_iters=4, warmup_ratio=0.01)

    assert warm('constant') == pytest.approx([0.01, 0.01, 0.01, 0.01, 1])
    assert warm('linear') == pytest.approx([0.01, 0.2575, 0.505, 0.7525, 1])
    assert warm('exp') == pytest.approx([0.01, 0.01**0.75, 0.1, 0.01**0.25, 1])
    by_epoch = curve(3, 2, policy='fixed', warmup='linear', warmup_iters=2, warmup_ratio=0.5, warmup_by_epoch=True)
    assert by_epoch == pytest.approx([0.5, 0.625, 0.75, 0.875, 1, 1])


def test_yolox_grows_with_the_square_and_ends_flat():
    config = {'policy': 'YOLOX', 'num_last_epochs': 1, 'min_lr_ratio': 0.1, 'by_epoch': False}
    warmup = {'warmup': 'exp', 'warmup_iters': 1, 'warmup_ratio': 1, 'warmup_by_epoch': True}
    values = curve(4, 2, **config, **warmup)
    cosine = [0.1 + 0.45 * (math.cos(math.pi * share) + 1) for share in (1 / 4, 2 / 4, 3 / 4)]
    assert values == pytest.approx([0.25, 1.0, *cosine, 0.1, 0.1, 0.1])


def test_momentum_falls_where_the_rate_rises():
    schedule = read_momentum_config({'policy': 'OneCycle', 'pct_start': 0.5, 'anneal_strategy': 'linear'})
    values = [schedule.values([0.9], Clock(0, i, 1, 4, 4))[0] for i in range(4)]
    assert values == pytest.approx([0.95, 0.85, 0.9, 0.95])
    warm = read_momentum_config({'policy': 'step', 'step': 1, 'warmup': 'constant', 'warmup_iters': 1})
    assert [warm.values([0.8], Clock(e, e, 3, 3, 1))[0] for e in range(3)] == pytest.approx([8, 0.4, 0.2])


@pytest.mark.parametrize(
    ('config', 'error', 'message'),
    [
        ({'policy': 'steps', 'step': [1]}, KeyError, 'step'),
        ({'policy': 'step', 'steps': [1]}, TypeError, 'steps'),
        ({'policy': 'step', 'step': [0]}, ValueError, 'positive'),
        ({'step': [1]}, KeyError, 'policy'),
        ({'policy': 'CosineAnnealing'}, ValueError, 'either'),
        ({'policy': 'CosineAnnealing', 'min_lr': 0, 'min_lr_ratio': 0}, ValueError, 'either'),
        ({'policy': 'FlatCosineAnnealing', 'min_lr': 0, 'start_percent': 2}, ValueError, 'start_percent'),
        ({'policy': 'CosineRestart', 'periods': [1, 2], 'min_lr': 0}, ValueError, '2 periods, but 1 restart_weights'),
        ({'policy': 'cyclic', 'anneal_strategy': 'exp'}, ValueError, 'anneal_strategy'),
        ({'policy': 'cyclic', 'step_ratio_up': 1}, ValueError, 'step_ratio_up'),
        ({'policy': 'OneCycle'}, TypeError, 'max_lr'),
        ({'policy': 'OneCycle', 'max_lr': 1, 'by_epoch': True}, ValueError, 'by_epoch'),
        ({'policy': 'fixed', 'warmup': 'quadratic'}, ValueError, 'quadratic'),
        ({'policy': 'fixed', 'warmup': 'linear'}, ValueError, 'warmup_iters'),
        ({'policy': 'fixed', 'warmup': 'linear', 'warmup_iters': 1, 'warmup_ratio': 0}, ValueError, 'warmup_ratio'),
    ],
)
def test_wrong_configs_are_explained(config, error, message):
    with pytest.raises(error, match=message) as caught:
        read_lr_config(config)
    assert isinstance(caught.value, UserError)


def test_curves_that_do_not_fit_the_training_are_explained():
    with pytest.raises(ValueError, match='end at 2, but the training goes on to 3'):
        curve(3, 1, policy='CosineRestart', periods=[2], min_lr=0)
    with pytest.raises(ValueError, match='max_lr has 2 values, but there are 1'):
        curve(3, 1, policy='OneCycle', max_lr=[1, 2])
    with pytest.raises(ValueError, match='total_steps is 2'):
        curve(3, 1, policy='OneCycle', max_lr=1, total_steps=2)


def test_names_of_mmcv_hooks_work_too():
    assert curve(2, 1, type='StepLrUpdaterHook', step=[1]) == pytest.approx([1, 0.1])
    assert curve(2, 1, policy='cosineannealing', min_lr=0) == pytest.approx([1, 0.5])


@pytest.mark.parametrize(
    'config',
    [
        {'policy': 'poly', 'power': 0.9, 'min_lr': 0.1},
        {'policy': 'CosineAnnealing', 'min_lr': 0.1},
        {'policy': 'LinearAnnealing', 'min_lr': 0.1},
        {'policy': 'FlatCosineAnnealing', 'start_percent': 0.5, 'min_lr': 0.1},
        {'policy': 'CosineRestart', 'periods': [4], 'min_lr': 0.1},
        {'policy': 'YOLOX', 'num_last_epochs': 1, 'min_lr': 0.1},
    ],
)
def test_after_the_end_a_rate_stays_at_its_end(config):
    schedule = read_lr_config(config)
    for done in range(4, 12):
        assert schedule.values([1.0], Clock(done, 2 * done, 4, 8, 2)) == pytest.approx([0.1])


def test_a_cycle_whose_rise_is_a_single_iteration():
    assert curve(4, 1, policy='OneCycle', max_lr=5, div_factor=5, pct_start=0.25)[:2] == pytest.approx(
        [5, 3.75], rel=1e-3
    )


def test_yolox_may_count_epochs_and_warm_up_in_iterations():
    config = {'policy': 'YOLOX', 'num_last_epochs': 1, 'min_lr_ratio': 0.0, 'warmup': 'exp', 'warmup_iters': 3}
    values = curve(5, 2, **config, warmup_ratio=1)
    assert values == pytest.approx([1 / 9, 4 / 9, 1, 1, 0.5, 0.5, 0, 0, 0, 0], abs=1e-6)
