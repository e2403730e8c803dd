from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from mmkit.layers import BaseModule, ConvModule, ModuleList, Sequential, bias_init_with_prob, initialize


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Linear(4, 5))


def test_constant_only_touches_the_named_layers():
    model = net()
    before = model[2].weight.clone()
    initialize(model, dict(type='Constant', val=2, layer=['Conv2d', '_BatchNorm'], bias=3))
    assert (model[0].weight == 2).all() and (model[0].bias == 3).all() and (model[1].weight == 2).all()
    assert torch.equal(model[2].weight, before)


def test_without_layer_nothing_changes():
    model = net()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    initialize(model, dict(type='Constant', val=2))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    'cfg, bound',
    [
        (dict(type='Xavier', distribution='uniform'), math.sqrt(6 / (400 + 400))),
        (dict(type='Uniform', a=-0.3, b=0.2), 0.3),
        (dict(type='TruncNormal', std=5, a=-1, b=1), 1),
        (dict(type='Caffe2Xavier'), math.sqrt(3 / 400)),
        (dict(type='Kaiming', distribution='uniform', mode='fan_in'), math.sqrt(6 / 400)),
    ],
)
def test_ranges(cfg, bound):
    torch.manual_seed(0)
    layer = nn.Linear(400, 400)
    initialize(layer, dict(cfg, layer='Linear'))
    assert 0.95 * bound < layer.weight.abs().max() <= bound
    assert (layer.bias == 0).all()


@pytest.mark.parametrize(
    'cfg, std',
    [
        (dict(type='Normal', std=0.01), 0.01),
        (dict(type='Xavier'), math.sqrt(2 / 800)),
        (dict(type='Kaiming'), math.sqrt(2 / 400)),
    ],
)
def test_deviations(cfg, std):
    torch.manual_seed(0)
    layer = nn.Linear(400, 400)
    initialize(layer, dict(cfg, layer='Linear'))
    assert float(layer.weight.detach().std()) == pytest.approx(std, rel=0.01)


def test_bias_prob_and_override():
    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.cls = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1)

    head = Head()
    initialize(
        head,
        dict(type='Constant', val=1, layer='Conv2d', override=dict(type='Constant', val=5, name='cls', bias_prob=0.01)),
    )
    assert head.conv.weight.item() == 1 and head.cls.weight.item() == 5
    assert head.cls.bias.sigmoid().item() == pytest.approx(0.01)
    initialize(head, dict(type='Constant', val=7, layer='Linear', override=[dict(name='conv')]))
    assert head.conv.weight.item() == 7 and head.cls.weight.item() == 5


@pytest.mark.parametrize(
    'cfg, error, word',
    [
        (dict(type='Constant', val=1, override=dict(name='nothing')), ValueError, 'nothing'),
        (dict(type='Constant', val=1, override=dict(type='Constant', val=1)), ValueError, 'name'),
        (dict(type='Constant', val=1, override=dict(name='0', val=1)), ValueError, 'type'),
        (dict(type='Constant', val=1, bias='auto'), TypeError, 'bias'),
        (dict(type='Constant', val=1, bias_prob=1), TypeError, 'bias_prob'),
        (dict(type='Constant', val=1, layer=3), TypeError, 'layer'),
        (dict(type='Xavier', distribution='cauchy', layer='Linear'), ValueError, 'cauchy'),
        ('Xavier', TypeError, 'Xavier'),
    ],
)
def test_mistakes_are_named(cfg, error, word):
    with pytest.raises(error, match=word):
        initialize(net(), cfg)


def test_bias_init_with_prob():
    assert bias_init_with_prob(0.5) == 0
    assert 1 / (1 + math.exp(-bias_init_with_prob(0.01))) == pytest.approx(0.01)


class Leaf(BaseModule):
    def __init__(self, val=None):
        super().__init__(None if val is None else dict(type='Constant', val=val, layer='Linear'))
        self.fc = nn.Linear(1, 1)


def test_children_are_initialised_after_their_parent():
    cfg = dict(type='Constant', val=1, layer='Linear')
    tree = Sequential(Leaf(), Leaf(2), nn.ModuleList([Leaf(3)]), ModuleList([Leaf(4)]), init_cfg=cfg)
    tree.init_weights()
    assert [p.item() for n, p in tree.named_parameters() if n.endswith('weight')] == [1, 2, 3, 4]
    assert tree.is_init and tree[1].is_init


def test_second_time_does_nothing(caplog):
    leaf = Leaf(2)
    leaf.init_weights()
    nn.init.zeros_(leaf.fc.weight)
    leaf.init_weights()
    assert leaf.fc.weight.item() == 0


def test_an_init_cfg_is_not_undone_by_conv_modules():
    tree = Sequential(ConvModule(1, 1, 1), init_cfg=dict(type='Constant', val=9, layer='Conv2d'))
    tree.init_weights()
    assert tree[0].conv.weight.item() == 9


def test_the_cfg_is_not_shared():
    cfg = dict(type='Constant', val=1, layer='Linear')
    leaf = Sequential(init_cfg=cfg)
    leaf.init_cfg['val'] = 2
    assert cfg['val'] == 1
