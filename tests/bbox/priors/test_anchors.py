from __future__ import annotations

import pytest
import torch

from mmkit.bbox.priors import AnchorGenerator, LegacyAnchorGenerator

# Ratio 4 keeps the numbers whole: half as wide, twice as high.


def test_ratio_is_height_over_width_and_scale_varies_fastest() -> None:
    generator = AnchorGenerator(strides=[8], ratios=[1.0, 4.0], scales=[1.0, 2.0])
    assert generator.base_anchors[0].tolist() == [[-4, -4, 4, 4], [-8, -8, 8, 8], [-2, -8, 2, 8], [-4, -16, 4, 16]]
    minor = AnchorGenerator(strides=[8], ratios=[1.0, 4.0], scales=[1.0, 2.0], scale_major=False)
    assert minor.base_anchors[0][1].tolist() == [-2, -8, 2, 8]
    assert generator.num_base_priors == [4]


def test_grid_is_anchors_then_columns_then_rows() -> None:
    generator = AnchorGenerator(strides=[(8, 4)], ratios=[1.0, 4.0], scales=[1.0], base_sizes=[2])
    grid = generator.grid_priors([(2, 3)])[0]
    assert grid.shape == (12, 4)
    assert grid[0].tolist() == [-1, -1, 1, 1]
    assert grid[1].tolist() == [-0.5, -2, 0.5, 2]
    assert grid[2].tolist() == [7, -1, 9, 1]  # one column on: stride 8
    assert grid[6].tolist() == [-1, 3, 1, 5]  # one row on: stride 4


def test_octave_scales_and_offsets() -> None:
    octave = AnchorGenerator(strides=[8], ratios=[1.0], octave_base_scale=4, scales_per_octave=2)
    torch.testing.assert_close(octave.scales, torch.tensor([4, 4 * 2**0.5]))
    middle = AnchorGenerator(strides=[8], ratios=[1.0], scales=[1], center_offset=0.5)
    assert middle.base_anchors[0].tolist() == [[0, 0, 8, 8]]
    placed = AnchorGenerator(strides=[8], ratios=[1.0], scales=[1], centers=[[1.0, 2.0]])
    assert placed.base_anchors[0].tolist() == [[-3, -2, 5, 6]]


def test_legacy_boxes_end_on_their_last_pixel() -> None:
    generator = LegacyAnchorGenerator(strides=[16], ratios=[1.0], scales=[1.0], center_offset=0.5)
    assert generator.base_anchors[0].tolist() == [[0, 0, 15, 15]]


def test_valid_flags_stop_at_the_padded_image() -> None:
    generator = AnchorGenerator(strides=[8, 16], ratios=[1.0, 2.0], scales=[1.0])
    flags = generator.valid_flags([(2, 3), (1, 2)], pad_shape=(8, 17))
    assert flags[0].tolist() == [True] * 6 + [False] * 6  # 1 row and 3 columns of 2 anchors
    assert flags[1].tolist() == [True] * 4


def test_empty_maps_and_dtype() -> None:
    generator = AnchorGenerator(strides=[8], ratios=[1.0], scales=[1.0])
    assert generator.grid_priors([(0, 3)])[0].shape == (0, 4)
    assert generator.grid_priors([(1, 1)], dtype=torch.float64)[0].dtype == torch.float64


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(), 'either scales'),
        (dict(scales=[1], octave_base_scale=4, scales_per_octave=2), 'either scales'),
        (dict(scales=[1], base_sizes=[1, 2]), '2 base_sizes for 1 strides'),
        (dict(scales=[1], center_offset=2.0), 'center_offset'),
        (dict(scales=[1], centers=[[0, 0], [0, 0]]), 'centers'),
    ],
)
def test_wrong_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AnchorGenerator(strides=[8], ratios=[1.0], **arguments)


def test_one_map_for_each_stride() -> None:
    with pytest.raises(ValueError, match='2 feature maps'):
        AnchorGenerator(strides=[8], ratios=[1.0], scales=[1]).grid_priors([(1, 1), (1, 1)])
