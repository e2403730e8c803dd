from __future__ import annotations

import pytest
import torch
from torch import nn

from mmkit.engine.ema import ModelEma


def model_of(value):
    model = nn.BatchNorm1d(1)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.fill_(value)
    return model


def test_averages_follow_slowly():
    model = model_of(0)
    ema = ModelEma(model)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.fill_(8)
    ema.update(model, 0.25)
    averaged = ema.averaged(model)
    assert float(averaged['weight']) == float(averaged['running_mean']) == 2
    assert int(averaged['num_batches_tracked']) == 8
    ema.update(model, 0.25)
    assert float(ema.averaged(model)['bias']) == 3.5
    assert float(model.bias.detach()) == 8


def test_swapping_and_back():
    model = model_of(1)
    ema = ModelEma(model, skip_buffers=True)
    ema.load({'weight': torch.tensor([5.0]), 'running_mean': torch.tensor([9.0])})
    with ema.in_use(model):
        assert model.weight.item() == 5 and model.running_mean.item() == 1
        assert ema.trained(model)['weight'].item() == 1 and ema.averaged(model)['weight'].item() == 5
        with ema.in_use(model):
            assert model.weight.item() == 5
    assert model.weight.item() == 1 and not ema.applied
    with pytest.raises(RuntimeError), ema.in_use(model):
        raise RuntimeError
    assert model.weight.item() == 1


def test_swapping_a_tensor_with_two_names():
    shared = nn.Linear(1, 1, bias=False)
    model = nn.Sequential(shared, nn.ModuleDict(dict(again=shared)))
    nn.init.constant_(shared.weight, 1.0)
    ema = ModelEma(model)
    nn.init.constant_(shared.weight, 3.0)
    ema.update(model, 0.25)
    with ema.in_use(model):
        assert shared.weight.item() == 1.5
        assert {value.item() for value in ema.trained(model).values()} == {3.0}
    assert shared.weight.item() == 3
    assert {name: value.item() for name, value in ema.averaged(model).items()} == {
        '0.weight': 1.5,
        '1.again.weight': 1.5,
    }
