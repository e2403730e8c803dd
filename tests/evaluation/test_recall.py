from __future__ import annotations

import numpy as np
import pytest

from mmkit.evaluation.recall import box_recalls, pairwise_iou

BOXES = np.array([[0, 0, 10, 10], [20, 20, 30, 30]], np.float32)


def test_pairwise_iou() -> None:
    ious = pairwise_iou(BOXES, np.array([[0, 0, 10, 5], [0, 0, 10, 10]], np.float32))
    np.testing.assert_allclose(ious, [[0.5, 1.0], [0, 0]])


def test_legacy_boxes_include_their_last_pixel() -> None:
    one_pixel, two_pixels = np.array([[3, 3, 3, 3]]), np.array([[3, 3, 4, 3]])
    assert pairwise_iou(one_pixel, two_pixels, legacy=True)[0, 0] == pytest.approx(0.5)
    assert pairwise_iou(one_pixel, two_pixels)[0, 0] == 0


def test_a_proposal_serves_one_object_only() -> None:
    gts = np.array([[0, 0, 10, 10], [0, 0, 10, 9]], np.float32)
    one = box_recalls([gts], [np.array([[0, 0, 10, 10, 0.9]])], [10], 0.5)
    two = box_recalls([gts], [np.array([[0, 0, 10, 10, 0.9], [0, 0, 10, 9, 0.1]])], [10], 0.5)
    assert one.tolist() == [[0.5]]
    assert two.tolist() == [[1.0]]


def test_the_best_proposals_count_first() -> None:
    proposals = np.array([[50, 50, 60, 60, 0.2], [0, 0, 10, 10, 0.1], [20, 20, 30, 30, 0.9]])
    recalls = box_recalls([BOXES], [proposals], [1, 2, 3], [0.5, 0.95])
    np.testing.assert_allclose(recalls, [[0.5, 0.5], [0.5, 0.5], [1.0, 1.0]])


def test_nothing_there() -> None:
    assert box_recalls([np.zeros((0, 4))], [BOXES], [5]).tolist() == [[0.0]]
    assert box_recalls([BOXES], [np.zeros((0, 5))], [5]).tolist() == [[0.0]]
    assert box_recalls([BOXES], [[]], [5]).tolist() == [[0.0]]  # type: ignore[list-item]


def test_as_many_proposals_as_images() -> None:
    with pytest.raises(ValueError, match='1 images, proposals of 2'):
        box_recalls([BOXES], [BOXES, BOXES], [5])
