from __future__ import annotations

import pytest
import torch

from mmkit.bbox import BboxOverlaps2D, bbox_overlaps

A = torch.tensor([[0.0, 0, 10, 10], [0, 0, 4, 4]])
B = torch.tensor([[5.0, 5, 15, 15], [0, 0, 10, 10], [20, 20, 30, 30]])


def test_iou_of_all_pairs() -> None:
    expected = torch.tensor([[25 / 175, 1, 0], [0, 16 / 100, 0]])
    torch.testing.assert_close(bbox_overlaps(A, B), expected)


def test_iof_divides_by_the_first_box() -> None:
    torch.testing.assert_close(bbox_overlaps(A, B, mode='iof'), torch.tensor([[0.25, 1, 0], [0, 1, 0]]))


def test_giou_of_aligned_boxes() -> None:
    # Overlap 25, union 175, hull 15 x 15 = 225; then apart: union 116, hull 30 x 30.
    result = bbox_overlaps(A, B[[0, 2]], mode='giou', is_aligned=True)
    torch.testing.assert_close(result, torch.tensor([25 / 175 - 50 / 225, -(900 - 116) / 900]))


def test_leading_dimensions() -> None:
    stacked = bbox_overlaps(A.expand(3, 2, 4), B.expand(3, 3, 4))
    assert stacked.shape == (3, 2, 3)
    torch.testing.assert_close(stacked[1], bbox_overlaps(A, B))


@pytest.mark.parametrize('mode', ['iou', 'iof', 'giou'])
def test_empty_sets_and_empty_boxes(mode: str) -> None:
    assert bbox_overlaps(A[:0], B, mode=mode).shape == (0, 3)
    assert bbox_overlaps(A, B[:0], mode=mode).shape == (2, 0)
    assert bbox_overlaps(A[:0], B[:0], mode=mode, is_aligned=True).shape == (0,)
    assert bbox_overlaps(torch.zeros(1, 4), torch.zeros(1, 4), mode=mode).isfinite().all()


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="'diou'"):
        bbox_overlaps(A, B, mode='diou')
    with pytest.raises(ValueError, match='2 boxes cannot be aligned with 3'):
        bbox_overlaps(A, B, is_aligned=True)
    with pytest.raises(ValueError, match=r'\(2, 3\)'):
        bbox_overlaps(A[:, :3], B)
    with pytest.raises(ValueError, match='fp32'):
        BboxOverlaps2D(dtype='fp32')


def test_calculator_drops_scores_and_can_compute_in_half_precision() -> None:
    scored = torch.cat([A, torch.ones(2, 1)], dim=1)
    torch.testing.assert_close(BboxOverlaps2D()(scored, B), bbox_overlaps(A, B))
    half = BboxOverlaps2D(scale=4.0, dtype='fp16')(A * 10, B * 10)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, bbox_overlaps(A, B), atol=2e-3, rtol=0)
