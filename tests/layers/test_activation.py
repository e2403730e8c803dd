from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from mmkit.layers import build_activation_layer
from mmkit.registry import ACTIVATION_LAYERS

X = torch.tensor([-4.0, -1.0, 0.0, 1.0, 4.0])


@pytest.mark.parametrize(
    'cfg, expected',
    [
        (dict(type='ReLU'), X.clamp(min=0)),
        (dict(type='LeakyReLU', negative_slope=0.5), torch.tensor([-2.0, -0.5, 0.0, 1.0, 4.0])),
        (dict(type='Swish'), X * X.sigmoid()),
        (dict(type='SiLU'), X * X.sigmoid()),
        (dict(type='HSigmoid'), torch.tensor([0.0, 1 / 3, 0.5, 2 / 3, 1.0])),
        (dict(type='HSwish'), F.hardswish(X)),
        (dict(type='Clip', max=0.5), torch.tensor([-1.0, -1.0, 0.0, 0.5, 0.5])),
        (dict(type='Clamp'), torch.tensor([-1.0, -1.0, 0.0, 1.0, 1.0])),
        (dict(type='Tanh'), X.tanh()),
    ],
)
def test_values(cfg, expected):
    assert torch.allclose(build_activation_layer(cfg)(X.clone()), expected)


def test_every_kind_builds():
    for kind in ACTIVATION_LAYERS.names():
        assert build_activation_layer(dict(type=kind), inplace=True)(X.clone()).shape == X.shape


def test_inplace_is_a_default():
    assert build_activation_layer(dict(type='ReLU'), inplace=True).inplace
    assert not build_activation_layer(dict(type='ReLU', inplace=False), inplace=True).inplace
    with pytest.raises(ValueError, match='divisor'):
        build_activation_layer(dict(type='HSigmoid', divisor=0))
