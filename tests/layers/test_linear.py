from __future__ import annotations

import torch

from mmkit.layers import NormedConv2d, NormedLinear, Scale, build_linear_layer


def test_normed_linear_sees_directions_only():
    torch.manual_seed(0)
    layer = NormedLinear(4, 3, tempearture=20)
    x = torch.rand(2, 4)
    assert torch.allclose(layer(x), layer(x * 7), atol=1e-4)
    cosine = torch.nn.functional.cosine_similarity(x[:, None], layer.weight[None], dim=2)
    assert torch.allclose(layer(x), 20 * cosine, rtol=1e-3)


def test_normed_conv():
    torch.manual_seed(0)
    x = torch.rand(1, 2, 4, 4)
    for over_kernel in (False, True):
        layer = NormedConv2d(2, 3, 1, norm_over_kernel=over_kernel)
        layer.bias.data.zero_()
        before = layer(x)
        layer.weight.data *= 3
        assert torch.allclose(layer(x * 2), before, atol=1e-4)


def test_build():
    assert type(build_linear_layer(None, 2, 3)) is torch.nn.Linear
    layer = build_linear_layer(dict(type='NormedLinear', tempearture=5), 2, 3, bias=False)
    assert layer.tempearture == 5 and layer.bias is None
    assert build_linear_layer(dict(type='Linear', bias=False), 2, 3).bias is None


def test_scale():
    scale = Scale(2.0)
    assert scale(torch.tensor(3.0)).item() == 6 and scale.scale.shape == ()
