from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from mmkit.layers import build_padding_layer, build_upsample_layer

X = torch.arange(8.0).view(1, 2, 2, 2)


def test_interpolation():
    assert torch.equal(build_upsample_layer(dict(type='nearest', scale_factor=2))(X), F.interpolate(X, scale_factor=2))
    assert torch.equal(
        build_upsample_layer(dict(type='bilinear', align_corners=False), scale_factor=2)(X),
        F.interpolate(X, scale_factor=2, mode='bilinear', align_corners=False),
    )


@pytest.mark.parametrize(
    'cfg',
    [
        dict(type='deconv', in_channels=2, out_channels=2, kernel_size=2, stride=2),
        dict(type='pixel_shuffle', in_channels=2, out_channels=2, scale_factor=2, upsample_kernel=3),
        dict(type='carafe', channels=2, scale_factor=2, up_group=2, compressed_channels=4),
    ],
)
def test_learned(cfg):
    assert build_upsample_layer(cfg)(X).shape == (1, 2, 4, 4)


def test_carafe_with_even_kernels_is_a_box_filter():
    layer = build_upsample_layer(dict(type='carafe', channels=2, scale_factor=3, up_kernel=3, compressed_channels=4))
    for parameter in layer.content_encoder.parameters():
        torch.nn.init.zeros_(parameter)
    expected = F.interpolate(F.avg_pool2d(X, 3, 1, padding=1), scale_factor=3)
    assert torch.allclose(layer(X), expected, atol=1e-5)


def test_carafe_takes_the_neighbour_its_kernel_points_at():
    layer = build_upsample_layer(dict(type='carafe', channels=1, scale_factor=2, up_kernel=3, compressed_channels=4))
    torch.nn.init.zeros_(layer.content_encoder.weight)
    bias = torch.zeros(9, 2, 2)
    for index, (row, column) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        bias[4 + index, row, column] = 100  # the pixel itself, right of it, below left, below
    layer.content_encoder.bias.data = bias.flatten()
    x = torch.arange(9.0).view(1, 1, 3, 3)
    assert layer(x)[0, 0, 2:4, 2:4].flatten().tolist() == [4.0, 5.0, 6.0, 7.0]


def test_carafe_without_images_has_gradients():
    layer = build_upsample_layer(dict(type='carafe', channels=2, scale_factor=2, compressed_channels=4))
    out = layer(X[:0])
    assert out.shape == (0, 2, 4, 4)
    out.sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())


def test_padding():
    assert build_padding_layer(dict(type='replicate'), 1)(X)[0, 0, 0].tolist() == [0.0, 0.0, 1.0, 1.0]
    with pytest.raises(KeyError, match='mirror'):
        build_padding_layer(dict(type='mirror'), 1)
