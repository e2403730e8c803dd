from __future__ import annotations

import pytest
import torch
from torch import nn

from mmkit.layers import Sequential, load_matching


class Child(Sequential):
    def __init__(self):
        super().__init__(nn.Linear(1, 1), init_cfg=dict(type='Constant', val=9, layer='Linear'))


def model(init_cfg=None) -> Sequential:
    return Sequential(nn.Linear(2, 2), Child(), init_cfg=init_cfg)


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    return {name: torch.full_like(value, 5) for name, value in model().state_dict().items()}


def test_pretrained_stops_at_the_top(tmp_path, weights):
    file = str(tmp_path / 'w.pth')
    torch.save(dict(state_dict={'module.' + name: value for name, value in weights.items()}), file)
    net = model(dict(type='Pretrained', checkpoint=file))
    net.init_weights()
    assert all((value == 5).all() for value in net.state_dict().values())


def test_prefix(tmp_path, weights):
    file = str(tmp_path / 'w.pth')
    torch.save({'backbone.' + name: value for name, value in weights.items()}, file)
    net = model(dict(type='Pretrained', checkpoint=file, prefix='backbone'))
    net.init_weights()
    assert all((value == 5).all() for value in net.state_dict().values())
    with pytest.raises(ValueError, match='neck'):
        load_matching(net, file, prefix='neck.')


def test_report(tmp_path, weights):
    file = str(tmp_path / 'w.pth')
    weights['0.bias'] = torch.zeros(7)
    torch.save(dict(weights, fc=torch.zeros(1)), file)
    report = load_matching(model(), file)
    assert report.mismatched == [('0.bias', (2,), (7,))]
    assert report.unexpected == ['fc'] and report.missing == [] and len(report.matched) == 3


def test_a_foreign_checkpoint_is_an_error(tmp_path, weights):
    file = str(tmp_path / 'w.pth')
    torch.save({'0.weight': weights['0.weight'], 'other': torch.zeros(1)}, file)
    with pytest.raises(ValueError, match='1 of 4'):
        load_matching(model(), file)
