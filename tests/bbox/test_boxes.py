from __future__ import annotations

import torch

from mmkit.bbox import (
    bbox2distance,
    bbox_centers,
    clip_bboxes,
    cxcywh_to_xyxy,
    distance2bbox,
    project_bboxes,
    scale_bboxes,
    xyxy_to_cxcywh,
)

BOXES = torch.tensor([[1.0, 2, 5, 10], [0, 0, 3, 3]])


def test_formats_are_inverse() -> None:
    assert xyxy_to_cxcywh(BOXES)[0].tolist() == [3, 6, 4, 8]
    torch.testing.assert_close(cxcywh_to_xyxy(xyxy_to_cxcywh(BOXES)), BOXES)


def test_centers() -> None:
    assert bbox_centers(torch.tensor([[0.0, 2, 4, 4]])).tolist() == [[2, 3]]


def test_clip_takes_height_first() -> None:
    assert clip_bboxes(torch.tensor([[-1.0, -2, 50, 60]]), (20, 30)).tolist() == [[0, 0, 30, 20]]


def test_boxes_around_moved_corners() -> None:
    quarter_turn = torch.tensor([[0.0, -1, 10], [1, 0, 0], [0, 0, 1]])  # (x, y) -> (10 - y, x)
    assert project_bboxes(BOXES, quarter_turn).tolist() == [[0, 1, 8, 5], [7, 0, 10, 3]]
    assert project_bboxes(BOXES, 2 * torch.eye(3)).tolist() == BOXES.tolist()
    perspective = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0.5, 0, 1]])  # divided by 1 + x / 2
    assert project_bboxes(torch.tensor([[0.0, 0, 2, 4]]), perspective).tolist() == [[0, 0, 1, 4]]
    assert project_bboxes(BOXES[:0], quarter_turn).shape == (0, 4)


def test_distances_are_inverse_and_limited() -> None:
    points = torch.tensor([[2.0, 4], [1, 1]])
    distance = bbox2distance(points, BOXES)
    assert distance[0].tolist() == [1, 2, 3, 6]
    torch.testing.assert_close(distance2bbox(points, distance), BOXES)
    torch.testing.assert_close(bbox2distance(points, BOXES, max_dis=4)[0], torch.tensor([1, 2, 3, 3.9]))
    assert distance2bbox(points, distance, max_shape=(8, 4))[0].tolist() == [1, 2, 4, 8]
    assert distance2bbox(points[:0], distance[:0]).shape == (0, 4)


def test_boxes_scaled_around_their_centres():
    assert scale_bboxes(torch.tensor([[0.0, 10, 8, 14]]), 0.5).tolist() == [[2, 11, 6, 13]]
