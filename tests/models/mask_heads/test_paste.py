from __future__ import annotations

import numpy as np
import pytest
import torch

from mmkit.models.mask_heads.paste import paste_masks


def pasted(prob, bbox, height=12, width=16, threshold=0.5):
    """(height, width) of one pasted mask."""
    return paste_masks(prob[None], torch.tensor([bbox], dtype=torch.float), height, width, threshold).to_ndarray()[0]


def rectangle(x1, y1, x2, y2, height=12, width=16):
    expected = np.zeros((height, width), np.uint8)
    expected[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)] = 1
    return expected


@pytest.mark.parametrize('box', [(3, 2, 9, 7), (0, 0, 16, 12), (5, 5, 6, 6), (-4, -3, 5, 4), (10, 8, 30, 40)])
def test_a_full_mask_covers_exactly_its_box(box):
    np.testing.assert_array_equal(pasted(torch.ones(28, 28), box), rectangle(*box))


def test_pixels_count_by_their_centre():
    np.testing.assert_array_equal(pasted(torch.ones(28, 28), (2.4, 3.0, 6.6, 5.0)), rectangle(2, 3, 7, 5))
    np.testing.assert_array_equal(pasted(torch.ones(28, 28), (2.6, 3.0, 6.4, 5.0)), rectangle(3, 3, 6, 5))


def test_boxes_outside_are_empty():
    for box in [(20, 3, 30, 9), (-9, -9, -2, -2), (3, 15, 9, 20)]:
        assert pasted(torch.ones(28, 28), box).sum() == 0


def test_boxes_without_area_read_the_middle_of_their_mask():
    """In the pixels that touch them, as mmdetection does."""
    np.testing.assert_array_equal(pasted(torch.ones(28, 28), (4, 4, 4, 9)), rectangle(3, 4, 5, 9))
    hollow = torch.ones(28, 28)
    hollow[:, 10:18] = 0
    assert pasted(hollow, (4, 4, 4, 9)).sum() == 0


def test_half_a_mask_is_half_a_box():
    prob = torch.zeros(8, 8)
    prob[:, 4:] = 1
    np.testing.assert_array_equal(pasted(prob, (2, 2, 10, 10)), rectangle(6, 2, 10, 10))


def test_threshold_is_included():
    level = torch.full((4, 4), 0.6)
    assert pasted(level, (2, 2, 10, 10), threshold=0.75).sum() == 0
    assert pasted(torch.full((4, 4), 0.75), (2, 2, 10, 10), threshold=0.75)[4:8, 4:8].all()


def test_no_masks():
    none = paste_masks(torch.zeros(0, 28, 28), torch.zeros(0, 4), 12, 16)
    assert len(none) == 0 and (none.height, none.width) == (12, 16)
