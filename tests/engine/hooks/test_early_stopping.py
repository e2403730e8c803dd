from __future__ import annotations

import math

import pytest

from mmkit.apis import train_detector
from mmkit.engine.hooks.early_stopping import EarlyStoppingHook
from mmkit.registry import DATASETS
from tests.engine.test_resume import Killed
from tests.engine.toys import ToyDataset, toy_config, toy_model


@DATASETS.register_module(force=True)
class CurveDataset(ToyDataset):
    """Its evaluations go through the scores; `begin` is the number of those of an earlier run."""

    def __init__(self, scores, begin=0, test_mode=False):
        super().__init__(2)
        self.scores = iter(scores[begin:])


def train(work_dir, scores, epochs=6, begin=0, hooks=(), **arguments):
    stopping = {'type': 'EarlyStoppingHook', 'monitor': 'bbox_mAP', **arguments}
    runner = {'type': 'EpochBasedRunner', 'max_epochs': epochs}
    cfg = toy_config(work_dir, custom_hooks=[stopping, *hooks], runner=runner, evaluation={}, auto_resume=True)
    cfg['data']['val'] = {'type': 'CurveDataset', 'scores': scores, 'begin': begin}
    return train_detector(toy_model(), ToyDataset(4), cfg, validate=True)


@pytest.mark.parametrize(
    ('scores', 'arguments', 'epochs'),
    [
        ([0.1, 0.4, 0.45, 0.45, 0.9, 0.9], {'patience': 2, 'min_delta': 0.1}, 4),
        ([0.1, 0.4, 0.45, 0.6, 0.7, 0.8], {'patience': 2, 'min_delta': 0.1}, 6),
        ([0.5, 0.4, 0.3, 0.3, 0.3, 0.3], {'rule': 'less', 'patience': 1, 'min_delta': 0.05}, 4),
        ([0.1, math.nan, 0.3, 0.4, 0.5, 0.6], {}, 2),
        ([0.1, math.nan, 0.3, 0.4, 0.5, 0.6], {'check_finite': False}, 6),
        ([0.1, 0.2, 0.7, 0.8, 0.9, 0.9], {'stopping_threshold': 0.6}, 3),
    ],
)
def test_when_it_stops(tmp_path, scores, arguments, epochs):
    assert train(tmp_path, scores, **arguments).epoch == epochs


@pytest.mark.parametrize('killed_in', [6, 7])  # before the evaluation after epoch 3, and in epoch 4
def test_a_resumed_training_stops_where_the_other_does(tmp_path, killed_in):
    scores = [0.1, 0.4, 0.3, 0.2, 0.1, 0.1]
    assert train(tmp_path / 'whole', scores, patience=2, min_delta=0.1).epoch == 4
    kill = {'type': 'KillHook', 'at': killed_in if killed_in % 2 else -killed_in, 'priority': 60}
    with pytest.raises(Killed):
        train(tmp_path / 'stopped', scores, patience=2, min_delta=0.1, hooks=[kill])
    resumed = train(tmp_path / 'stopped', scores, begin=2, patience=2, min_delta=0.1)
    assert resumed.epoch == 4 and resumed.hook_states == {'EarlyStoppingHook': {'best': 0.4, 'waited': 2}}


def test_a_figure_that_is_not_there(tmp_path, caplog):
    train(tmp_path / 'a', [0.1], epochs=1, monitor='segm_mAP')
    assert "did you mean 'bbox_mAP'?" in caplog.text
    with pytest.raises(ValueError, match="'segm_mAP', which is not evaluated"):
        train(tmp_path / 'b', [0.1], epochs=1, monitor='segm_mAP', strict=True)
    for arguments in ({'monitor': 'size'}, {'monitor': 'mAP', 'rule': 'more'}, {'monitor': 'mAP', 'patience': 0}):
        with pytest.raises(ValueError):
            EarlyStoppingHook(**arguments)
