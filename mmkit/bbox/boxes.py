"""Geometry of (..., 4) boxes: changes of format and clipping."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def xyxy_to_cxcywh(bboxes: Tensor) -> Tensor:
    """(..., 4) corners to centre, width and height."""
    x1, y1, x2, y2 = bboxes.unbind(-1)
    return torch.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], dim=-1)


def cxcywh_to_xyxy(bboxes: Tensor) -> Tensor:
    """(..., 4) centre, width and height to corners."""
    cx, cy, w, h = bboxes.unbind(-1)
    return torch.stack([cx - 0.5 * w, cy - 0.5 * h, cx + 0.5 * w, cy + 0.5 * h], dim=-1)


def bbox_centers(bboxes: Tensor) -> Tensor:
    """(..., 2) x, y of the centres of boxes (..., 4) xyxy."""
    return (bboxes[..., :2] + bboxes[..., 2:4]) / 2


def scale_bboxes(bboxes: Tensor, factor: float) -> Tensor:
    """(..., 4) xyxy boxes with `factor` times the sides around the same centres."""
    center, half = bbox_centers(bboxes), (bboxes[..., 2:4] - bboxes[..., :2]) * (factor / 2)
    return torch.cat([center - half, center + half], dim=-1)


def clip_bboxes(bboxes: Tensor, max_shape: Sequence[int]) -> Tensor:
    """(..., 4) xyxy boxes clipped to an image of `max_shape` (height, width)."""
    height, width = max_shape[0], max_shape[1]
    x = bboxes[..., 0::2].clamp(0, width)
    y = bboxes[..., 1::2].clamp(0, height)
    return torch.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], dim=-1)


def project_bboxes(bboxes: Tensor, homography: Tensor) -> Tensor:
    """(N, 4) xyxy boxes around what becomes of boxes (N, 4) when their corners move.

    Args:
        homography: (3, 3), from (x, y, 1) to the new x, y, both times a factor.
    """
    corners = bboxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].view(-1, 4, 2)
    moved = torch.cat([corners, torch.ones_like(corners[..., :1])], dim=-1) @ homography.T
    points = moved[..., :2] / moved[..., 2:]  # (N, 4, 2)
    return torch.cat([points.amin(dim=1), points.amax(dim=1)], dim=-1)


def distance2bbox(points: Tensor, distance: Tensor, max_shape: Sequence[int] | None = None) -> Tensor:
    """Boxes around points.

    Args:
        points: (..., 2) x, y.
        distance: (..., 4) from the point to the left, top, right and bottom side.
        max_shape: (height, width) to clip at.
    """
    bboxes = torch.cat([points - distance[..., :2], points + distance[..., 2:]], dim=-1)
    return bboxes if max_shape is None else clip_bboxes(bboxes, max_shape)


def bbox2distance(points: Tensor, bboxes: Tensor, max_dis: float | None = None, eps: float = 0.1) -> Tensor:
    """The inverse of `distance2bbox`: (..., 4), limited to 0 .. max_dis - eps if `max_dis` is given."""
    distance = torch.cat([points - bboxes[..., :2], bboxes[..., 2:] - points], dim=-1)
    return distance if max_dis is None else distance.clamp(0, max_dis - eps)
