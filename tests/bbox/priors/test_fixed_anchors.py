from __future__ import annotations

import math

import pytest
import torch

from mmkit.bbox.priors import LegacySSDAnchorGenerator, SSDAnchorGenerator, YOLOAnchorGenerator

RATIOS = [[2], [2, 3], [2, 3], [2, 3], [2], [2]]


def test_ssd300_has_the_sizes_of_the_paper() -> None:
    generator = SSDAnchorGenerator(
        strides=[8, 16, 32, 64, 100, 300], ratios=RATIOS, basesize_ratio_range=[0.15, 0.9], scale_major=False
    )
    assert generator.base_sizes == [21, 45, 99, 153, 207, 261]
    assert generator.num_base_priors == [4, 6, 6, 6, 4, 4]
    small, large, wide, high = generator.base_anchors[0]
    assert small.tolist() == [4 - 10.5, 4 - 10.5, 4 + 10.5, 4 + 10.5]
    torch.testing.assert_close(large[2] - large[0], torch.tensor(math.sqrt(21 * 45)))
    torch.testing.assert_close(wide[2] - wide[0], torch.tensor(21 * math.sqrt(2)))
    torch.testing.assert_close(high[3] - high[1], torch.tensor(21 * math.sqrt(2)))


def test_ssd_sizes_may_be_given() -> None:
    generator = SSDAnchorGenerator(strides=[16], ratios=[[2]], min_sizes=[48], max_sizes=[100], input_size=320)
    assert generator.base_sizes == [48]
    assert generator.grid_priors([(2, 2)])[0].shape == (16, 4)


def test_ssd_refuses_what_it_cannot_size() -> None:
    with pytest.raises(ValueError, match='input_size 320'):
        SSDAnchorGenerator(strides=[8, 16, 32], ratios=[[2]] * 3, input_size=320)
    with pytest.raises(ValueError, match='both or none'):
        SSDAnchorGenerator(strides=[8], ratios=[[2]], min_sizes=[10])
    with pytest.raises(ValueError, match='2 ratios'):
        SSDAnchorGenerator(strides=[8], ratios=[[2], [2]], min_sizes=[10], max_sizes=[20])


def test_legacy_ssd_is_whole_pixels_around_the_middle_pixel() -> None:
    generator = LegacySSDAnchorGenerator(
        strides=[8, 16, 32, 64, 100, 300], ratios=RATIOS, basesize_ratio_range=(0.15, 0.9), scale_major=False
    )
    assert generator.base_anchors[0][0].tolist() == [-6, -6, 14, 14]  # 3.5 -+ 10, rounded to even


def test_yolo_anchors_are_centred_in_their_cell() -> None:
    generator = YOLOAnchorGenerator(strides=[32, 16], base_sizes=[[[10, 20]], [[4, 4], [6, 8]]])
    assert generator.num_base_priors == [1, 2]
    assert generator.base_anchors[0].tolist() == [[11, 6, 21, 26]]
    assert generator.grid_priors([(1, 2), (1, 1)])[0][1].tolist() == [43, 6, 53, 26]
    with pytest.raises(ValueError, match='1 lists'):
        YOLOAnchorGenerator(strides=[32, 16], base_sizes=[[[10, 20]]])


def test_yolo_cells_with_a_centre_are_responsible() -> None:
    generator = YOLOAnchorGenerator(strides=[16], base_sizes=[[[4, 4], [6, 8]]])
    gts = torch.tensor([[16.0, 0, 30, 14], [28, 28, 36, 36]])  # centres (23, 7) and (32, 32), the border
    flags = generator.responsible_flags([(2, 2)], gts)[0]
    assert flags.tolist() == [False, False, True, True, False, False, True, True]
    assert not generator.responsible_flags([(2, 2)], gts[:0])[0].any()
