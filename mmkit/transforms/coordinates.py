"""Boxes and keypoints under shifts, mirroring and affine maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmkit.transforms.checks import Size


def clip_bboxes(bboxes: np.ndarray, size: Size) -> np.ndarray:
    """(N, 4 or 5) inside an image of `size` (height, width)."""
    clipped: np.ndarray = bboxes.copy()
    clipped[:, :4] = bboxes[:, :4].clip(0, np.array([size[1], size[0]] * 2, dtype=bboxes.dtype))
    return clipped


def shift_bboxes(bboxes: np.ndarray, x: float, y: float) -> np.ndarray:
    """(N, 4 or 5), moved to the right by `x` and down by `y`."""
    shifted: np.ndarray = bboxes.copy()
    shifted[:, :4] += np.array([x, y, x, y], dtype=np.float32)
    return shifted


def shift_map(x: float, y: float) -> np.ndarray:
    """(3, 3) map of points (x, y, 1), to the right by `x` and down by `y`."""
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], dtype=np.float64)


def flip_bboxes(bboxes: np.ndarray, size: Sequence[int], direction: str) -> np.ndarray:
    """(N, 4 or 5), mirrored in an image of `size` (height, width)."""
    flipped: np.ndarray = bboxes.copy()
    if direction != 'vertical':
        flipped[:, [0, 2]] = size[1] - bboxes[:, [2, 0]]
    if direction != 'horizontal':
        flipped[:, [1, 3]] = size[0] - bboxes[:, [3, 1]]
    return flipped


def warp_bboxes(bboxes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The boxes around the moved corners of boxes.

    Args:
        bboxes: (N, 4) xyxy, or (N, 5) with scores, which stay.
        matrix: (2, 3) or (3, 3), an affine map of points (x, y).
    """
    x1, y1, x2, y2 = bboxes[:, :4].T.astype(np.float64)
    xs, ys = warp_points(np.stack([x1, x2, x2, x1]), np.stack([y1, y1, y2, y2]), matrix)  # (4, N) each
    columns = [xs.min(axis=0), ys.min(axis=0), xs.max(axis=0), ys.max(axis=0), *bboxes[:, 4:].T]
    return np.stack(columns, axis=1).astype(np.float32)


def warp_points(xs: np.ndarray, ys: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points under an affine map, a matrix (2, 3) or (3, 3)."""
    (a, b, c), (d, e, f) = matrix[:2]
    return a * xs + b * ys + c, d * xs + e * ys + f


def warp_keypoints(keypoints: np.ndarray, matrix: np.ndarray, size: Size) -> np.ndarray:
    """(N, K, 3) under an affine map; those outside of the new image of `size` (height, width) become invisible."""
    xs, ys = warp_points(keypoints[..., 0], keypoints[..., 1], matrix)
    return hide_outside(np.stack([xs, ys, keypoints[..., 2]], axis=-1).astype(np.float32), size)


def hide_outside(keypoints: np.ndarray, size: Size) -> np.ndarray:
    """(N, K, 3) with visibility 0 outside of an image of `size` (height, width)."""
    xs, ys, visibility = np.moveaxis(keypoints, -1, 0)
    is_inside = (xs >= 0) & (xs <= size[1]) & (ys >= 0) & (ys <= size[0])
    return np.stack([xs, ys, visibility * is_inside], axis=-1)


def overlaps_image(bboxes: np.ndarray, size: Size) -> np.ndarray:
    """(N,) bool: boxes that overlap with an image of `size` (height, width)."""
    overlaps: np.ndarray = np.all((bboxes[:, :2] < (size[1], size[0])) & (bboxes[:, 2:4] > 0), axis=1)
    return overlaps


def is_larger(bboxes: np.ndarray, min_size: float | Sequence[float]) -> np.ndarray:
    """(N,) bool: boxes that are wider and higher than `min_size`, in pixels: one number or (width, height)."""
    larger: np.ndarray = np.all((bboxes[:, 2:4] - bboxes[:, :2]) > np.asarray(min_size), axis=1)
    return larger


def is_recognisable(
    before: np.ndarray, after: np.ndarray, min_bbox_size: float, min_area_ratio: float, max_aspect_ratio: float
) -> np.ndarray:
    """(N,) bool: boxes `after` that are large enough, not too long, and enough of those `before`; both (N, 4)."""
    old, new = before[:, 2:4] - before[:, :2], after[:, 2:4] - after[:, :2]
    aspect = np.maximum(new[:, 0] / (new[:, 1] + 1e-16), new[:, 1] / (new[:, 0] + 1e-16))
    share = new.prod(axis=1) / (old.prod(axis=1) + 1e-16)
    keep: np.ndarray = is_larger(after, min_bbox_size) & (share > min_area_ratio) & (aspect < max_aspect_ratio)
    return keep
