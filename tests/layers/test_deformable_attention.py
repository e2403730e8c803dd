from __future__ import annotations

import math

import pytest
import torch

from mmkit.layers.attention import Sampling
from mmkit.layers.deformable_attention import MultiScaleDeformableAttention, sample_levels

SHAPES = [(3, 4), (2, 2)]
CELLS = sum(height * width for height, width in SHAPES)


def bilinear(plane, x, y):
    """The value of a (h, w) plane at (x, y) in cells, whose centres are at halves; 0 outside."""
    height, width = plane.shape
    left, top = math.floor(x - 0.5), math.floor(y - 0.5)
    total = 0.0
    for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        if 0 <= row < height and 0 <= column < width:
            total += float(plane[row, column]) * (1 - abs(x - 0.5 - column)) * (1 - abs(y - 0.5 - row))
    return total


def test_samples_equal_a_naive_loop():
    torch.manual_seed(0)
    batch, queries, heads, points, dims = 2, 3, 2, 2, 2
    value = torch.randn(batch, CELLS, heads, dims)
    locations = torch.rand(batch, queries, heads, len(SHAPES), points, 2) * 1.4 - 0.2  # some lie outside
    weights = torch.rand(batch, queries, heads, len(SHAPES), points)
    expected = torch.zeros(batch, queries, heads, dims)
    for b, q, m, d in torch.cartesian_prod(*map(torch.arange, (batch, queries, heads, dims))).tolist():
        start = 0
        for level, (height, width) in enumerate(SHAPES):
            plane = value[b, start : start + height * width, m, d].view(height, width)
            start += height * width
            for p in range(points):
                x, y = locations[b, q, m, level, p].tolist()
                expected[b, q, m, d] += float(weights[b, q, m, level, p]) * bilinear(plane, x * width, y * height)
    out = sample_levels(value, SHAPES, locations, weights)
    torch.testing.assert_close(out, expected.flatten(2), atol=1e-5, rtol=1e-4)


def attention(**arguments):
    cfg = dict(embed_dims=8, num_heads=2, num_levels=2, num_points=2, dropout=0.0)
    return MultiScaleDeformableAttention(**(cfg | arguments))


def sampling(queries=3, batch=2, size=2):
    return Sampling(torch.full((batch, queries, 2, size), 0.5), SHAPES)


def test_initial_offsets_point_in_all_directions():
    """Two heads look right and left, one cell away and then two."""
    offsets = attention().sampling_offsets.bias.view(2, 2, 2, 2)  # head, level, point, xy
    torch.testing.assert_close(offsets[:, 0], torch.tensor([[[1.0, 0], [2, 0]], [[-1, 0], [-2, 0]]]), atol=1e-6, rtol=0)
    torch.testing.assert_close(offsets[:, 0], offsets[:, 1])


def test_offsets_are_in_cells_or_in_fractions_of_a_box():
    layer, query = attention(), torch.zeros(1, 1, 8)
    points = layer._locations(query, sampling(1, 1))
    assert points[0, 0, 0, 0, 0].tolist() == pytest.approx([0.5 + 1 / 4, 0.5])  # one cell of four to the right
    boxes = Sampling(torch.tensor([0.5, 0.5, 0.4, 0.2]).expand(1, 1, 2, 4), SHAPES)
    out = layer._locations(query, boxes)
    assert out[0, 0, 0, 0, :, 0].tolist() == pytest.approx([0.6, 0.7])  # point p at p + 1 quarters of the width


def test_padding_reads_as_zero():
    layer = attention()
    query, value = torch.rand(3, 2, 8), torch.rand(CELLS, 2, 8)
    padding = torch.ones(2, CELLS, dtype=torch.bool)
    out = layer(query, value=value, key_padding_mask=padding, sampling=sampling())
    torch.testing.assert_close(out, query + layer.output_proj.bias)


def test_batch_first_is_the_same():
    torch.manual_seed(0)
    layer, other = attention(), attention(batch_first=True)
    other.load_state_dict(layer.state_dict())
    query, value = torch.rand(3, 2, 8), torch.rand(CELLS, 2, 8)
    out = layer(query, value=value, sampling=sampling())
    turned = other(query.transpose(0, 1), value=value.transpose(0, 1), sampling=sampling())
    torch.testing.assert_close(out.transpose(0, 1), turned)


def test_unsupported_arguments_are_refused():
    with pytest.raises(ValueError, match='embed_dims 8 is no multiple of num_heads 3'):
        attention(num_heads=3)
    with pytest.raises(ValueError, match='norm_cfg'):
        attention(norm_cfg=dict(type='LN'))
    with pytest.raises(ValueError, match='sampling'):
        attention()(torch.rand(3, 2, 8))
    with pytest.warns(UserWarning, match='im2col_step'):
        attention(im2col_step=128)
