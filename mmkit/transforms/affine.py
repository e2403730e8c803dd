"""Rotation, scaling, shear and shift in one step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from mmkit.errors import InvalidValueError
from mmkit.registry import TRANSFORMS
from mmkit.transforms.base import FieldTransform, bbox_fields, keep_objects
from mmkit.transforms.checks import Size
from mmkit.transforms.coordinates import clip_bboxes, is_recognisable, overlaps_image, warp_bboxes, warp_keypoints


@dataclass(frozen=True)
class Affine:
    """Parameters of `RandomAffine`.

    Attributes:
        matrix: (3, 3) map of points (x, y).
        scale: the factor in it.
        size: (height, width) of the result.
    """

    matrix: np.ndarray
    scale: float
    size: Size


@TRANSFORMS.register_module()
class RandomAffine(FieldTransform[Affine]):
    """Scales, rotates and shears about the upper left corner, and shifts. Masks and maps are refused.

    Args:
        max_rotate_degree: rotations are drawn between this and its negative.
        max_translate_ratio: the same for shifts, as a share of width and height.
        scaling_ratio_range: (low, high) factor.
        max_shear_degree: the same for the shear along each axis.
        border: (height, width) by which the image grows on each of two sides; negative ones make it smaller, as after
            `Mosaic`.
        border_val: colour of pixels from outside of the image.
        min_bbox_size: smallest width and height of a box that is kept, in pixels, unless `skip_filter`.
        min_area_ratio: smallest share of its area that must be left of it.
        max_aspect_ratio: largest ratio of its edges.
        bbox_clip_border: clip boxes to the image.
        skip_filter: keep all boxes that overlap with the image.
    """

    changes_size = True

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
            raise InvalidValueError(
                f'RandomAffine.max_translate_ratio is between 0 and 1, got {max_translate_ratio}',
                key='max_translate_ratio',
            )
        if not 0 < scaling_ratio_range[0] <= scaling_ratio_range[1]:
            raise InvalidValueError(
                f'RandomAffine.scaling_ratio_range is (low, high) above 0, got {scaling_ratio_range}',
                key='scaling_ratio_range',
            )
        self.max_rotate_degree = max_rotate_degree
        self.max_translate_ratio = max_translate_ratio
        self.scaling_ratio_range = scaling_ratio_range
        self.max_shear_degree = max_shear_degree
        self.border = (int(border[0]), int(border[1]))
        self.border_val = tuple(float(value) for value in border_val)
        self.limits = (min_bbox_size, min_area_ratio, max_aspect_ratio)
        self.bbox_clip_border = bbox_clip_border
        self.skip_filter = skip_filter

    def draw(self, sample: dict[str, Any], rng: np.random.Generator) -> Affine:
        height, width = (edge + 2 * border for edge, border in zip(sample['img'].shape, self.border))
        if height < 1 or width < 1:
            raise InvalidValueError(
                f'border={self.border} leaves nothing of an image of shape {sample["img"].shape[:2]}', key='border'
            )
        angle = math.radians(rng.uniform(-self.max_rotate_degree, self.max_rotate_degree))
        scale = rng.uniform(self.scaling_ratio_range[0], self.scaling_ratio_range[1])
        shear_x, shear_y = np.tan(np.radians(rng.uniform(-self.max_shear_degree, self.max_shear_degree, 2)))
        shift = rng.uniform(-self.max_translate_ratio, self.max_translate_ratio, 2) * (width, height)
        cos, sin = math.cos(angle), math.sin(angle)
        rotation = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        shear = np.array([[1, shear_x, 0], [shear_y, 1, 0], [0, 0, 1]])
        translation = np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1]])
        return Affine(translation @ shear @ rotation @ np.diag([scale, scale, 1.0]), scale, (height, width))

    def apply(self, sample: dict[str, Any], params: Affine) -> dict[str, Any] | None:
        before = {key: sample[key] for key in bbox_fields(sample)}
        super().apply(sample, params)
        for key, bboxes in before.items():
            keep = overlaps_image(sample[key], params.size)
            if not self.skip_filter:
                keep &= is_recognisable(bboxes * np.float32(params.scale), sample[key], *self.limits)
            keep_objects(sample, key, keep)
        return sample

    def apply_image(self, img: np.ndarray, params: Affine) -> np.ndarray:
        height, width = params.size
        return cv2.warpAffine(img, params.matrix[:2], (width, height), borderValue=self.border_val)

    def apply_boxes(self, bboxes: np.ndarray, params: Affine) -> np.ndarray:
        bboxes = warp_bboxes(bboxes, params.matrix)
        return clip_bboxes(bboxes, params.size) if self.bbox_clip_border else bboxes

    def apply_keypoints(self, keypoints: np.ndarray, params: Affine) -> np.ndarray:
        return warp_keypoints(keypoints, params.matrix, params.size)

    def point_map(self, params: Affine) -> np.ndarray | None:
        return params.matrix
