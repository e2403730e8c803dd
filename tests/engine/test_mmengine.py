"""Checkpoints as mmdetection 3.x writes them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
import torch

from mmkit.dialects import read_recipe
from mmkit.engine.assemble import _meta
from mmkit.engine.checkpoint import load_checkpoint
from mmkit.engine.hooks.averaged_model import AveragedModelHook
from mmkit.engine.mmengine import own_meta
from mmkit.engine.optim import build_optimizer
from mmkit.engine.runner import EpochBasedRunner
from mmkit.utils.weights import read_weights
from tests.engine import mmengine_like
from tests.engine.toys import ToyDataset, loaders_of, toy_model

META = {'classes': ('cat', 'dog'), 'palette': [(220, 20, 60), (0, 0, 142)]}
SGD = {'type': 'SGD', 'lr': 0.1, 'momentum': 0.9}


def v3_checkpoint(model, **more):
    weights = model.state_dict()
    weights['data_preprocessor.mean'] = torch.zeros(3, 1, 1)
    meta = {'cfg': 'model = dict()', 'dataset_meta': META, 'seed': np.int64(3), 'epoch': 2, 'iter': 8}
    return {'meta': meta, 'state_dict': weights, 'message_hub': mmengine_like.message_hub(), **more}


def save(checkpoint, path, zipped=True):
    with mmengine_like.importable():
        torch.save(checkpoint, path, _use_new_zipfile_serialization=zipped)


@pytest.mark.parametrize('zipped', [True, False])
def test_records_of_the_training_are_read_without_their_classes(tmp_path, zipped, caplog):
    save(v3_checkpoint(toy_model()), tmp_path / 'a.pth', zipped)
    hub = read_weights(tmp_path / 'a.pth')['message_hub']
    assert hub['log_scalars'] == {'train/loss': {}}
    assert hub['runtime_info'] == {'cfg': {'lr': 0.1, 'steps': [{'type': 'A'}]}, 'best_score': 0.5}
    assert not caplog.records


def test_weights_and_classes(tmp_path, caplog):
    save(v3_checkpoint(toy_model(3)), tmp_path / 'a.pth')
    model = toy_model()
    meta = load_checkpoint(model, tmp_path / 'a.pth', strict=True)['meta']
    assert meta['CLASSES'] == META['classes'] and meta['PALETTE'] == META['palette']
    assert torch.equal(model.conv.weight, toy_model(3).conv.weight)
    assert 'not in the model' not in caplog.text
    assert own_meta({'dataset_meta': {'CLASSES': ('a',), 'palette': 'random'}})['CLASSES'] == ('a',)
    assert 'PALETTE' not in own_meta({'dataset_meta': {'palette': 'random'}})


def runner_for(model, epochs=3):
    runner = EpochBasedRunner(model, build_optimizer(model, SGD), max_epochs=epochs)
    runner.register_hook(AveragedModelHook(momentum=0.1))
    return runner


def test_a_training_goes_on(tmp_path):
    """Trained as 3.x does it, all but the message hub: the averages are the state_dict, the trained weights beside."""
    half = runner_for(toy_model(), epochs=2)
    half.run(loaders_of(8))
    trained = half.ema.trained(half.module)
    buffers = dict(half.module.named_buffers())
    others = OrderedDict({'steps': torch.tensor(8)}, **{f'module.{k}': v for k, v in {**buffers, **trained}.items()})
    optimizer = {**half.optimizer.state_dict(), 'base_param_settings': {'lr': 0.1}}
    schedulers = [{'last_step': 8, '_global_step': 9}]
    checkpoint = v3_checkpoint(half.module, optimizer=optimizer, ema_state_dict=others, param_schedulers=schedulers)
    save(checkpoint, tmp_path / 'epoch_2.pth')

    resumed = runner_for(toy_model(9))
    resumed.resume(tmp_path / 'epoch_2.pth')
    assert (resumed.epoch, resumed.iter) == (2, 8)
    assert torch.equal(resumed.module.conv.weight, trained['conv.weight'])
    assert torch.equal(resumed.restored_average['conv.weight'], half.module.conv.weight)
    momentum = half.optimizer.state[half.module.conv.weight]['momentum_buffer']
    assert torch.equal(resumed.optimizer.state[resumed.module.conv.weight]['momentum_buffer'], momentum)
    resumed.run(loaders_of(8))
    assert (resumed.epoch, resumed.iter) == (3, 12)


def test_another_optimizer_is_refused(tmp_path):
    model = toy_model()
    for state, message in [
        (build_optimizer(model, {**SGD, 'paramwise_cfg': {}}).state_dict(), None),
        (torch.optim.SGD([model.conv.weight], lr=1).state_dict(), 'has 1 parameters in 1 groups, here it has 6 in 1'),
        ({'generator': {}, 'critic': {}}, r'state of several optimizers \(generator, critic\)'),
    ]:
        save(v3_checkpoint(model, optimizer=state), tmp_path / 'a.pth')
        if message is None:
            runner_for(toy_model()).resume(tmp_path / 'a.pth')
            continue
        with pytest.raises(ValueError, match=f'{message}.*load_from'):
            runner_for(toy_model()).resume(tmp_path / 'a.pth')


def test_users_of_3x_find_the_classes_in_our_checkpoints():
    recipe = read_recipe({'default_scope': 'mmdet', 'model': {'type': 'A'}})
    meta = _meta(replace(recipe, text='model = dict()'), ToyDataset(), 3, None)
    assert meta['dataset_meta'] == {'classes': ('cat', 'dog'), 'palette': None} and meta['cfg'] == 'model = dict()'
    assert 'dataset_meta' not in _meta(replace(recipe, dialect=2), ToyDataset(), 3, None)
