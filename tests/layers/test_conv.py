from __future__ import annotations

import pytest
import torch
from torch import nn

from mmkit.layers import build_conv_layer


@pytest.mark.parametrize(
    'kind, layer', [('Conv', nn.Conv2d), ('Conv1d', nn.Conv1d), ('Conv3d', nn.Conv3d), ('deconv', nn.ConvTranspose2d)]
)
def test_kinds(kind, layer):
    assert type(build_conv_layer(dict(type=kind), 2, 3, 3)) is layer


def test_default_and_mistakes():
    assert type(build_conv_layer(None, 2, 3, 3, bias=False)) is nn.Conv2d
    with pytest.raises(KeyError, match='type'):
        build_conv_layer({}, 1, 1, 1)
    with pytest.raises(KeyError, match='Conv2d'):
        build_conv_layer(dict(type='Conv2D'), 1, 1, 1)
    with pytest.raises(TypeError, match='cannot set bias'):
        build_conv_layer(dict(type='Conv2d', bias=True), 1, 1, 1, bias=False)


def test_standardised_weights_do_not_depend_on_shift_and_scale():
    torch.manual_seed(0)
    x = torch.rand(1, 4, 6, 6)
    conv = build_conv_layer(dict(type='ConvWS'), 4, 4, 3, padding=1, groups=2)
    before = conv(x)
    with torch.no_grad():
        conv.weight.mul_(3).add_(1)
    assert torch.allclose(conv(x), before, atol=1e-3)


def test_adaptive_weight_standardisation_keeps_loaded_filters():
    torch.manual_seed(0)
    plain, adaptive = nn.Conv2d(2, 3, 3), build_conv_layer(dict(type='ConvAWS'), 2, 3, 3)
    adaptive.load_state_dict(plain.state_dict(), strict=False)
    x = torch.rand(1, 2, 5, 5)
    assert torch.allclose(adaptive(x), plain(x), atol=1e-5)
    own = adaptive.state_dict()
    own['weight_gamma'] = torch.full((3, 1, 1, 1), 2.0)
    adaptive.load_state_dict(own)
    assert (adaptive.weight_gamma == 2).all()


@pytest.mark.parametrize('size, stride, kernel', [(5, 2, 3), (6, 2, 3), (7, 3, 4), (4, 1, 3)])
def test_adaptive_padding_gives_ceil(size, stride, kernel):
    conv = build_conv_layer(dict(type='Conv2dAdaptivePadding'), 1, 1, kernel, stride=stride)
    assert conv(torch.zeros(1, 1, size, size)).shape[2:] == (-(-size // stride),) * 2
