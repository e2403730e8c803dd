from __future__ import annotations

import pytest

from mmkit.datasets import build_dataloader
from mmkit.datasets.mix import MultiImageMixDataset
from mmkit.datasets.wrappers import ClassBalancedDataset, ConcatDataset, RepeatDataset
from mmkit.engine.hook import Hook
from mmkit.engine.hooks.pipeline_switch import PipelineSwitchHook
from mmkit.engine.optim import build_optimizer
from mmkit.engine.runner import EpochBasedRunner
from mmkit.registry import TRANSFORMS
from tests.engine.toys import ToyDataset, run_with, toy_model


@TRANSFORMS.register_module(force=True)
class Brighten:
    def __init__(self, by):
        self.by = by

    def __call__(self, sample):
        sample.img = sample.img + self.by
        return sample


class PipedDataset(ToyDataset):
    transforms = ()

    def set_pipeline(self, pipeline):
        self.transforms = [TRANSFORMS.build(step) for step in pipeline]

    def get(self, index, rng):
        sample = super().get(index, rng)
        for transform in self.transforms:
            sample = transform(sample)
        return sample

    def get_cat_ids(self, index):
        return [0]


SWITCH = {'switch_epoch': 2, 'switch_pipeline': [{'type': 'Brighten', 'by': 100}]}


class Watch(Hook):
    def __init__(self):
        self.bright = []

    def before_train_iter(self, runner):
        self.bright.append(bool(runner.batch.imgs.mean() > 50))


@pytest.mark.parametrize('num_workers', [0, 1])
def test_the_pipeline_changes_in_its_epoch_in_running_workers_too(num_workers):
    model, watch = toy_model(), Watch()
    runner = EpochBasedRunner(model, build_optimizer(model, {'type': 'SGD', 'lr': 0.0}), max_epochs=4)
    runner.register_hook(PipelineSwitchHook(**SWITCH))
    runner.register_hook(watch)
    runner.run([build_dataloader(PipedDataset(2), 2, num_workers, persistent_workers=num_workers > 0)])
    assert watch.bright == [False, False, True, True]


def test_a_resumed_training_has_the_new_pipeline():
    model, watch = toy_model(), Watch()
    runner = EpochBasedRunner(model, build_optimizer(model, {'type': 'SGD', 'lr': 0.0}), max_epochs=4)
    runner.epoch = 3
    runner.register_hook(PipelineSwitchHook(**SWITCH))
    runner.register_hook(watch)
    runner.run([build_dataloader(PipedDataset(2), 2, 0)])
    assert watch.bright == [True]


def test_wrappers_hand_the_pipeline_on():
    dataset = PipedDataset(2)
    for wrapper in (RepeatDataset(dataset, 2), ClassBalancedDataset(dataset, 0.5), ConcatDataset([dataset])):
        dataset.transforms = ()
        wrapper.set_pipeline(SWITCH['switch_pipeline'])
        assert wrapper[0].img.mean() > 50
    mixed = MultiImageMixDataset(PipedDataset(2), [{'type': 'Brighten', 'by': 1}], skip_type_keys=['Brighten'])
    mixed.set_pipeline(SWITCH['switch_pipeline'])
    assert mixed[0].img.mean() > 50


def test_mistakes_are_found_at_the_beginning():
    with pytest.raises(KeyError, match='Brightn'):
        PipelineSwitchHook(5, [{'type': 'Brightn'}])
    with pytest.raises(TypeError, match='the pipeline of a ToyDataset cannot be replaced'):
        run_with(PipelineSwitchHook(5, []))
    with pytest.raises(TypeError, match='the pipeline of a ToyDataset cannot be replaced'):
        RepeatDataset(ToyDataset(2), 2).set_pipeline([])
