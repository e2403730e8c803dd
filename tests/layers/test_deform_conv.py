from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from mmkit.layers import ConvModule, DeformConv, build_conv_layer


@pytest.mark.parametrize('kind, scale', [('DCN', 1.0), ('DCNv2', 0.5)])
def test_starts_as_a_plain_convolution(kind, scale):
    torch.manual_seed(0)
    layer = build_conv_layer(dict(type=kind, deform_groups=2), 4, 6, 3, stride=2, padding=1, bias=False)
    x = torch.rand(2, 4, 7, 8)
    assert torch.allclose(layer(x), scale * F.conv2d(x, layer.weight, stride=2, padding=1), atol=1e-5)


def test_names():
    first = build_conv_layer(dict(type='DCN'), 4, 6, 3)
    assert {n: list(p.shape) for n, p in first.state_dict().items()} == {
        'weight': [6, 4, 3, 3],
        'conv_offset.weight': [18, 4, 3, 3],
        'conv_offset.bias': [18],
    }
    second = build_conv_layer(dict(type='DCNv2', deform_groups=2), 4, 6, 3)
    assert list(second.bias.shape) == [6] and list(second.conv_offset.bias.shape) == [54]
    with pytest.raises(ValueError, match='bias'):
        build_conv_layer(dict(type='DCN'), 4, 6, 3, bias=True)


def test_older_checkpoints_keep_the_offsets_beside():
    model = torch.nn.Sequential(ConvModule(1, 1, 3, conv_cfg=dict(type='DCNv2')))
    state = {
        name.replace('.conv_offset', '_offset'): torch.full_like(value, 7) for name, value in model.state_dict().items()
    }
    assert '0.conv_offset.weight' in state
    model.load_state_dict(state)
    assert (model[0].conv.conv_offset.weight == 7).all()


def test_a_subclass_is_a_deformable_convolution_too():
    class Own(DeformConv):
        maps = 2

        def forward(self, x):
            return self.convolve(x, self.conv_offset(x))

    layer = Own(1, 2, 3, padding=1)
    assert layer.is_deform_conv and layer(torch.rand(1, 1, 4, 4)).shape == (1, 2, 4, 4)


@pytest.mark.parametrize('kind', ['DCN', 'DCNv2'])
def test_groups_in_the_older_spelling(kind):
    layer = build_conv_layer(dict(type=kind, deformable_groups=2), 4, 6, 3, padding=1, bias=False)
    assert layer.deform_groups == 2
    assert layer(torch.rand(1, 4, 5, 5)).shape == (1, 6, 5, 5)
