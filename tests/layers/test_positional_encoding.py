from __future__ import annotations

import math

import pytest
import torch

from mmkit.layers.positional_encoding import LearnedPositionalEncoding, SinePositionalEncoding, sine_embedding


def mask(height=3, width=4, valid=(2, 3)):
    """One image of `valid` cells, the rest is padding."""
    padding = torch.ones(1, height, width, dtype=torch.bool)
    padding[:, : valid[0], : valid[1]] = False
    return padding


def test_sines_and_cosines_alternate():
    out = sine_embedding(torch.tensor([0.0, 2.0]), 4, 100)
    assert out[0].tolist() == [0, 1, 0, 1]
    expected = [math.sin(2), math.cos(2), math.sin(0.2), math.cos(0.2)]
    assert out[1].tolist() == pytest.approx(expected)


def test_cells_are_counted_from_one():
    """Rows come first; padding repeats the last count."""
    out = SinePositionalEncoding(2)(mask())
    assert out.shape == (1, 4, 3, 4)
    assert out[0, :, 0, 2].tolist() == pytest.approx([math.sin(1), math.cos(1), math.sin(3), math.cos(3)])
    torch.testing.assert_close(out[0, 2:, 0, 3], out[0, 2:, 0, 2])


def test_normalised_counts_end_at_the_scale():
    """Without padding: the second of two rows lies at the whole scale, the first at half of it."""
    out = SinePositionalEncoding(2, normalize=True, scale=1.0, eps=0.0)(mask())[0]
    assert out[:2, 0, 0].tolist() == pytest.approx([math.sin(0.5), math.cos(0.5)])
    assert out[:2, 1, 0].tolist() == pytest.approx([math.sin(1), math.cos(1)])
    shifted = SinePositionalEncoding(2, normalize=True, scale=1.0, eps=0.0, offset=-0.5)(mask())[0]
    assert shifted[:2, 0, 0].tolist() == pytest.approx([math.sin(0.25), math.cos(0.25)])


def test_learned_vectors_of_column_and_row():
    encoding = LearnedPositionalEncoding(2, row_num_embed=5, col_num_embed=6)
    out = encoding(mask())
    assert out.shape == (1, 4, 3, 4)
    expected = torch.cat([encoding.col_embed.weight[3], encoding.row_embed.weight[1]])
    torch.testing.assert_close(out[0, :, 1, 3], expected)
