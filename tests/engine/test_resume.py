"""A training that was stopped and goes on is the training that was not stopped, to the last bit."""

from __future__ import annotations

import json
import random
import shutil

import numpy as np
import pytest
import torch

from mmkit.apis import train_detector
from mmkit.engine.hook import Hook
from mmkit.engine.rng import preserved_rng, rng_state, set_rng_state
from mmkit.registry import HOOKS
from tests.engine.toys import ToyDataset, ToyDetector, toy_config, toy_model

EMA = [{'type': 'ExpMomentumEMAHook', 'momentum': 0.1, 'total_iter': 5, 'priority': 49}]
AVERAGED = [{'type': 'AveragedModelHook', 'ema_type': 'ExpMomentumEMA', 'gamma': 5, 'interval': 2, 'begin_iter': 4}]
ITERS = {'type': 'IterBasedRunner', 'max_iters': 15}
BY_ITER = {'interval': 1, 'by_epoch': False}
ACCUMULATE = {'type': 'GradientCumulativeOptimizerHook', 'cumulative_iters': 4}
WORKFLOW = [('train', 1), ('val', 1)]


class Killed(Exception):
    pass


@HOOKS.register_module(force=True)
class KillHook(Hook):
    """The power fails after an iteration, when everything else is done for it."""

    priority = 'LOWEST'

    def __init__(self, at: int) -> None:
        self.at = at

    def after_train_iter(self, runner):
        if runner.iter == self.at:
            raise Killed

    def after_train_epoch(self, runner):
        if runner.iter == -self.at:
            raise Killed


def train(work_dir, at=None, seed=0, **changes):
    """Train a toy; `at` is the iteration to be killed in, or minus that at the end of its epoch."""
    cfg = toy_config(work_dir, **changes)
    if at is not None:
        cfg['custom_hooks'] = [*cfg.get('custom_hooks', []), {'type': 'KillHook', 'at': at}]
    datasets = [ToyDataset() for _ in cfg.get('workflow', [0])]
    torch.manual_seed(seed)
    model = ToyDetector()
    np.random.seed(seed)
    random.seed(seed)
    if at is None:
        return train_detector(model, datasets, cfg), datasets[0]
    with pytest.raises(Killed):
        train_detector(model, datasets, cfg)
    return None


def losses_of(work_dir):
    """The last line of each (mode, epoch, iter), without times."""
    entries = {}
    for path in sorted(work_dir.glob('*.log.json'), key=lambda path: path.stat().st_mtime_ns):
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            if 'mode' in entry:
                timeless = {k: v for k, v in entry.items() if k not in ('time', 'data_time')}
                entries[entry['mode'], entry['epoch'], entry['iter']] = timeless
    return entries


def same(first, second):
    for name, value in first.module.state_dict().items():
        assert torch.equal(value, second.module.state_dict()[name]), name
    for one, two in zip(
        first.optimizer.state_dict()['state'].values(), second.optimizer.state_dict()['state'].values()
    ):
        assert all(torch.equal(one[key], two[key]) for key in one if isinstance(one[key], torch.Tensor))
    for one, two in zip(first.optimizer.param_groups, second.optimizer.param_groups):
        assert {**one, 'params': 0} == {**two, 'params': 0}
    if first.ema is not None:
        for name, value in first.ema.trained(first.module).items():
            assert torch.equal(value, second.ema.trained(second.module)[name]), name


@pytest.mark.parametrize(
    ('at', 'changes'),
    [
        (-12, {}),
        (15, {}),
        (16, {'checkpoint_config': BY_ITER}),
        (18, {'checkpoint_config': BY_ITER}),
        (-12, {'custom_hooks': EMA}),
        (9, {'custom_hooks': EMA, 'checkpoint_config': BY_ITER}),
        (9, {'custom_hooks': AVERAGED, 'checkpoint_config': BY_ITER}),
        (9, {'optimizer_config': ACCUMULATE, 'checkpoint_config': BY_ITER}),
        (-12, {'workflow': WORKFLOW}),
        (-6, {'workflow': [('train', 2), ('val', 1)]}),
        (7, {'runner': ITERS, 'checkpoint_config': {'interval': 1}}),
        (12, {'runner': ITERS, 'checkpoint_config': {'interval': 1}}),
        (8, {'runner': ITERS, 'checkpoint_config': {'interval': 3}, 'workflow': [('train', 4), ('val', 1)]}),
        (-12, {'optimizer': {'type': 'AdamW', 'lr': 0.01}, 'momentum_config': {'policy': 'cyclic'}}),
    ],
)
def test_resumed_training_is_the_same(tmp_path, at, changes):
    whole, _ = train(tmp_path / 'whole', **changes)
    train(tmp_path / 'stopped', at, **changes)
    resumed, _ = train(tmp_path / 'stopped', seed=99, auto_resume=True, **changes)
    assert (resumed.epoch, resumed.iter) == (whole.epoch, whole.iter)
    same(whole, resumed)
    assert losses_of(tmp_path / 'stopped') == losses_of(tmp_path / 'whole')


def test_workers_do_not_matter(tmp_path):
    whole, _ = train(tmp_path / 'whole')
    data = {**toy_config('')['data'], 'workers_per_gpu': 1, 'persistent_workers': True}
    train(tmp_path / 'stopped', 9, checkpoint_config=BY_ITER, data=data)
    resumed, _ = train(tmp_path / 'stopped', checkpoint_config=BY_ITER, auto_resume=True, data=data)
    same(whole, resumed)


def test_images_before_the_iteration_are_not_loaded_again(tmp_path):
    train(tmp_path, 10, checkpoint_config=BY_ITER)
    _, dataset = train(tmp_path, checkpoint_config=BY_ITER, auto_resume=True)
    assert len(dataset.loaded) == (24 - 10) * 2


def test_the_checkpoint_has_averaged_weights_and_the_finished_model_too(tmp_path):
    runner, _ = train(tmp_path, custom_hooks=EMA)
    saved = torch.load(tmp_path / 'epoch_4.pth', weights_only=True)
    trained = saved['runner']['trained']
    for name, value in runner.module.state_dict().items():
        assert torch.equal(value, saved['state_dict'][name]), name
    assert not torch.equal(trained['conv.weight'], saved['state_dict']['conv.weight'])


def test_broken_checkpoints_are_skipped(tmp_path, caplog):
    whole, _ = train(tmp_path / 'whole')
    train(tmp_path / 'stopped', -18)
    newest = tmp_path / 'stopped' / 'epoch_3.pth'
    newest.write_bytes(newest.read_bytes()[:2000])
    resumed, _ = train(tmp_path / 'stopped', auto_resume=True)
    same(whole, resumed)


def test_nothing_to_resume_begins_at_the_beginning(tmp_path):
    runner, _ = train(tmp_path / 'new', auto_resume=True)
    whole, _ = train(tmp_path / 'whole')
    same(whole, runner)


def test_resume_from_names_the_file(tmp_path):
    whole, _ = train(tmp_path / 'whole')
    shutil.copy(tmp_path / 'whole' / 'epoch_1.pth', tmp_path / 'there.pth')
    resumed, _ = train(tmp_path / 'other', resume_from=str(tmp_path / 'there.pth'))
    same(whole, resumed)
    averaged, _ = train(
        tmp_path / 'again', custom_hooks=[{'type': 'EMAHook', 'resume_from': str(tmp_path / 'there.pth')}]
    )
    for name, value in averaged.ema.trained(averaged.module).items():
        assert torch.equal(value, whole.module.state_dict()[name]), name
    with pytest.raises(FileNotFoundError, match=r'nowhere\.pth'):
        train(tmp_path, resume_from='nowhere.pth')
    torch.save({'state_dict': toy_model().state_dict()}, tmp_path / 'weights.pth')
    with pytest.raises(KeyError, match='load_from'):
        train(tmp_path, resume_from=str(tmp_path / 'weights.pth'))


def test_load_from_begins_anew_with_the_weights(tmp_path):
    torch.save({'state_dict': toy_model(5).state_dict()}, tmp_path / 'weights.pth')
    runner, _ = train(tmp_path / 'a', load_from=str(tmp_path / 'weights.pth'), lr_config=None, runner=ITERS)
    assert runner.iter == 15
    other, _ = train(tmp_path / 'b', lr_config=None, runner=ITERS)
    assert not torch.equal(runner.module.conv.weight, other.module.conv.weight)


def test_mmdetection_checkpoints_resume_with_frozen_parameters_and_averages(tmp_path):
    """Their optimizer has the frozen parameters too, and the trained weights are in ema_* buffers."""
    model = toy_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    model.loss(next(iter(_loader())))['loss_bbox'].sum().backward()
    optimizer.step()
    weights = model.state_dict()
    averages = {name: value + 1 for name, value in weights.items()}
    names = {f'ema_{name.replace(".", "_")}': value for name, value in weights.items()}
    checkpoint = {'meta': {'epoch': 2, 'iter': 12}, 'state_dict': {**averages, **names}}
    torch.save({**checkpoint, 'optimizer': optimizer.state_dict()}, tmp_path / 'theirs.pth')

    from mmkit.engine.optim import build_optimizer
    from mmkit.engine.runner import EpochBasedRunner

    other = toy_model(7)
    other.conv.requires_grad_(False)
    runner = EpochBasedRunner(other, build_optimizer(other, {'type': 'SGD', 'lr': 1, 'momentum': 0.9}), max_epochs=3)
    runner.resume(tmp_path / 'theirs.pth')
    assert (runner.epoch, runner.iter) == (2, 12)
    assert torch.equal(other.conv.weight, weights['conv.weight'])
    assert torch.equal(runner.restored_average['conv.weight'], averages['conv.weight'])
    theirs = optimizer.state[model.bn.weight]['momentum_buffer']
    assert torch.equal(runner.optimizer.state[other.bn.weight]['momentum_buffer'], theirs)


def _loader():
    from mmkit.datasets import build_dataloader

    return build_dataloader(ToyDataset(), 2, 0, seed=0)


def test_random_state_comes_back():
    def draw():
        return random.random(), float(np.random.rand()), np.random.normal(), float(torch.rand(()))

    random.seed(1)
    np.random.seed(1)
    np.random.normal()  # leaves a cached second value
    state = rng_state()
    with preserved_rng():
        first = draw()
    assert draw() == first
    set_rng_state(state)
    assert draw() == first
