from __future__ import annotations

import pytest

from mmkit.registry import HOOKS
from tests.engine.toys import run_with, toy_model


@pytest.mark.parametrize(
    'cfg',
    [
        {'type': 'DistSamplerSeedHook'},
        {'type': 'SyncBuffersHook'},
        {'type': 'SyncNormHook', 'num_last_epochs': 1, 'interval': 10},
        {'type': 'EmptyCacheHook', 'before_epoch': True, 'after_iter': True},
        {'type': 'CheckInvalidLossHook', 'interval': 1},
        {'type': 'IterTimerHook'},
    ],
)
def test_hooks_that_change_nothing_here(cfg):
    plain = run_with(epochs=1)
    hooked = run_with(HOOKS.build(cfg), epochs=1, model=toy_model())
    assert hooked.iter == plain.iter


def test_epoch_is_told_to_the_model():
    model = toy_model()
    told = []
    model.set_epoch = told.append
    run_with(HOOKS.build({'type': 'SetEpochInfoHook'}), epochs=2, model=model)
    assert told == [0, 1]


def test_what_tracks_progress_hears_the_epoch_without_it():
    model, told = toy_model(), []
    with pytest.raises(TypeError, match='set_epoch'):
        run_with(HOOKS.build({'type': 'SetEpochInfoHook'}), epochs=1, model=model)
    model.set_progress = lambda progress: told.append(progress.epoch)
    run_with(HOOKS.build({'type': 'SetEpochInfoHook'}), epochs=2, model=model)
    assert sorted(set(told)) == [0, 1]
