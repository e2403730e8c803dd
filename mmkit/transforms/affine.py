"""Rotation, scaling, shear and shift in one step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from mmkit.registry import PIPELINES
from mmkit.transforms.cropping import keep_objects
from mmkit.transforms.mixing import bbox_fields, clip_bboxes, inside, refuse_pixel_fields, still_useful
from mmkit.transforms.randomness import rng_of


def warped_bboxes(bboxes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The boxes around the moved corners of boxes.

    Args:
        bboxes: (N, 4) xyxy
        matrix: (2, 3) or (3, 3), an affine map of points (x, y).
    """
    x1, y1, x2, y2 = bboxes[:, :4].T.astype(np.float64)
    xs, ys = np.stack([x1, x2, x2, x1]), np.stack([y1, y1, y2, y2])  # (4, N)
    moved_x = matrix[0, 0] * xs + matrix[0, 1] * ys + matrix[0, 2]
    moved_y = matrix[1, 0] * xs + matrix[1, 1] * ys + matrix[1, 2]
    edges = [moved_x.min(axis=0), moved_y.min(axis=0), moved_x.max(axis=0), moved_y.max(axis=0)]
    return np.stack(edges, axis=1).astype(np.float32)


@PIPELINES.register_module()
class RandomAffine:
    """Scales, rotates and shears about the upper left corner, and shifts. Images and boxes only.

    Args:
        max_rotate_degree: rotations are drawn between this and its negative.
        max_translate_ratio: the same for shifts, as a share of width and height.
        scaling_ratio_range: (low, high) factor.
        max_shear_degree: the same for the shear along each axis.
        border: (height, width) by which the image grows on each of two sides; negative ones make it smaller, as after
            `Mosaic`.
        border_val: colour of what comes into view.
        min_bbox_size: in pixels, min_area_ratio: of what is left of a box, max_aspect_ratio: of its edges: which boxes
            are kept, unless `skip_filter`.
        bbox_clip_border: clip boxes to the image.
        skip_filter: keep all boxes that overlap with the image.
    """

    def __init__(
        self,
        max_rotate_degree: float = 10.0,
        max_translate_ratio: float = 0.1,
        scaling_ratio_range: Sequence[float] = (0.5, 1.5),
        max_shear_degree: float = 2.0,
        border: Sequence[int] = (0, 0),
        border_val: Sequence[float] = (114, 114, 114),
        min_bbox_size: float = 2,
        min_area_ratio: float = 0.2,
        max_aspect_ratio: float = 20,
        bbox_clip_border: bool = True,
        skip_filter: bool = True,
    ) -> None:
        if not 0 <= max_translate_ratio <= 1:
            raise ValueError(f'RandomAffine.max_translate_ratio is between 0 and 1, got {max_translate_ratio}')
        if not 0 < scaling_ratio_range[0] <= scaling_ratio_range[1]:
            raise ValueError(f'RandomAffine.scaling_ratio_range is (low, high) above 0, got {scaling_ratio_range}')
        self.max_rotate_degree = max_rotate_degree
        self.max_translate_ratio = max_translate_ratio
        self.scaling_ratio_range = scaling_ratio_range
        self.max_shear_degree = max_shear_degree
        self.border = (int(border[0]), int(border[1]))
        self.border_val = tuple(float(value) for value in border_val)
        self.limits = (min_bbox_size, min_area_ratio, max_aspect_ratio)
        self.bbox_clip_border = bbox_clip_border
        self.skip_filter = skip_filter

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        refuse_pixel_fields(sample, 'RandomAffine')
        height, width = (edge + 2 * border for edge, border in zip(sample['img'].shape, self.border))
        if height < 1 or width < 1:
            raise ValueError(f'border={self.border} leaves nothing of an image of shape {sample["img"].shape[:2]}')
        matrix, scale = self._draw(height, width, rng_of(sample))
        img = cv2.warpAffine(sample['img'], matrix[:2], (width, height), borderValue=self.border_val)
        sample['img'] = img
        sample['img_shape'] = sample['pad_shape'] = img.shape
        for key in bbox_fields(sample):
            before = sample[key]
            after = warped_bboxes(before, matrix)
            if self.bbox_clip_border:
                after = clip_bboxes(after, (height, width))
            keep = inside(after, (height, width))
            if not self.skip_filter:
                keep &= still_useful(before * np.float32(scale), after, *self.limits)
            sample[key] = after
            keep_objects(sample, key, keep)
        return sample

    def _draw(self, height: int, width: int, rng: np.random.Generator) -> tuple[np.ndarray, float]:
        """(3, 3) map of points, and the factor in it."""
        angle = math.radians(rng.uniform(-self.max_rotate_degree, self.max_rotate_degree))
        scale = rng.uniform(self.scaling_ratio_range[0], self.scaling_ratio_range[1])
        shear_x, shear_y = np.tan(np.radians(rng.uniform(-self.max_shear_degree, self.max_shear_degree, 2)))
        shift = rng.uniform(-self.max_translate_ratio, self.max_translate_ratio, 2) * (width, height)
        cos, sin = math.cos(angle), math.sin(angle)
        rotation = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        shear = np.array([[1, shear_x, 0], [shear_y, 1, 0], [0, 0, 1]])
        translation = np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1]])
        return translation @ shear @ rotation @ np.diag([scale, scale, 1.0]), scale
