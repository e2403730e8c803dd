"""Hooks of 3.x whose arguments differ."""

from __future__ import annotations

import pytest

from mmkit.dialects.spellings import HOOKS, read_v3, write_v3

AVERAGED = {'type': 'AveragedModelHook', 'ema_type': 'ExpMomentumEMA', 'momentum': 0.0002}


@pytest.mark.parametrize(
    ('v3', 'neutral'),
    [
        ({**AVERAGED, 'type': 'EMAHook', 'strict_load': True}, AVERAGED),
        ({'type': 'ParameterEMAHook', 'warm_up': 10}, {'type': 'EMAHook', 'warm_up': 10}),
        (
            {'type': 'CheckpointHook', 'interval': 2, 'save_param_scheduler': False, 'backend_args': None},
            {'type': 'CheckpointHook', 'interval': 2, 'last_checkpoint': True},
        ),
        (
            {'type': 'ProfilerHook', 'profile_times': 3, 'activity_with_cuda': True},
            {'type': 'ProfilerHook', 'profile_iters': 3, 'activities': ['cpu', 'cuda']},
        ),
        ({'type': 'SyncNormHook'}, {'type': 'SyncNormHook'}),
    ],
)
def test_they_are_read_and_written(v3, neutral):
    assert read_v3(v3, HOOKS) == neutral
    assert read_v3(write_v3(neutral, HOOKS), HOOKS) == neutral


def test_averages_of_2x_keep_their_numbers():
    assert write_v3({'type': 'EMAHook'}, HOOKS) == {'type': 'ParameterEMAHook'}
    assert write_v3(AVERAGED, HOOKS)['type'] == 'EMAHook'


@pytest.mark.parametrize(
    'hook',
    [
        {'type': 'CheckpointHook', 'backend_args': {'backend': 'petrel'}},
        {'type': 'EMAHook', 'device': 'cuda'},
    ],
)
def test_what_has_no_effect_is_refused(hook):
    with pytest.raises(ValueError, match='is not supported'):
        read_v3(hook, HOOKS)
