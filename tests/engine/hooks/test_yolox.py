from __future__ import annotations

import pytest

from mmkit.datasets import build_dataloader
from mmkit.engine.hook import Hook
from mmkit.engine.optim import build_optimizer
from mmkit.engine.runner import EpochBasedRunner
from mmkit.registry import HOOKS
from tests.engine.toys import ToyDataset, ToyDetector, run_with


def test_last_epochs_of_yolox():
    calls = []

    class Mixed(ToyDataset):
        def update_skip_type_keys(self, keys):
            calls.append(keys)

    class Watch(Hook):
        def before_train_iter(self, runner):
            calls.append(runner.epoch)

    class Model(ToyDetector):
        def use_extra_losses(self):
            calls.append('extra losses')

    model = Model()
    runner = EpochBasedRunner(model, build_optimizer(model, {'type': 'SGD', 'lr': 0.1}), max_epochs=4)
    runner.register_hook(
        HOOKS.build({'type': 'YOLOXModeSwitchHook', 'num_last_epochs': 1, 'skip_type_keys': ['Mosaic']})
    )
    runner.register_hook(Watch())
    runner.run([build_dataloader(Mixed(2), 2, 0)])
    assert calls == [0, 1, ('Mosaic',), 'extra losses', 2, 3]


def test_last_epochs_of_yolox_need_their_dataset():
    with pytest.raises(TypeError, match='needs a MultiImageMixDataset to train on, not a ToyDataset'):
        run_with(HOOKS.build({'type': 'YOLOXModeSwitchHook'}))


def test_a_new_pipeline_in_place_of_skipped_steps():
    calls = []

    class Piped(ToyDataset):
        def set_pipeline(self, pipeline):
            calls.append([step['type'] for step in pipeline])

    class Model(ToyDetector):
        def use_extra_losses(self):
            calls.append('extra losses')

    hook = {
        'type': 'YOLOXModeSwitchHook',
        'num_last_epochs': 1,
        'new_train_pipeline': [{'type': 'Collect', 'keys': []}],
    }
    model = Model()
    runner = EpochBasedRunner(model, build_optimizer(model, {'type': 'SGD', 'lr': 0.1}), max_epochs=4)
    runner.register_hook(HOOKS.build(hook))
    runner.run([build_dataloader(Piped(2), 2, 0)])
    assert calls == [['Collect'], 'extra losses']
    with pytest.raises(TypeError, match='the pipeline of a ToyDataset cannot be replaced'):
        run_with(HOOKS.build(hook), model=Model())
