"""Rotation, shear and shift of known strength: the geometric operations of AutoAugment's policies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from mmkit.registry import PIPELINES
from mmkit.transforms.affine import warped_bboxes
from mmkit.transforms.cropping import keep_objects
from mmkit.transforms.images import INTERPOLATIONS, check_choice
from mmkit.transforms.mixing import bbox_fields, clip_bboxes
from mmkit.transforms.randomness import rng_of
from mmkit.transforms.strength import MAX_LEVEL, check_level, check_probability

AXES = ('horizontal', 'vertical')
Fill = float | Sequence[float]


def as_fill(value: Fill, name: str) -> tuple[float, ...]:
    fill = (float(value),) * 3 if isinstance(value, (int, float)) else tuple(float(each) for each in value)
    if len(fill) != 3 or not all(0 <= each <= 255 for each in fill):
        raise ValueError(f'{name}.img_fill_val is a number or three between 0 and 255, got {value!r}')
    return fill


def warp(
    sample: dict[str, Any],
    matrix: np.ndarray,
    fill: tuple[float, ...],
    seg_fill: int,
    min_size: float = 0,
    interpolation: str = 'bilinear',
) -> None:
    """Move image, boxes, masks and maps alike, on the same canvas; boxes that left it are dropped.

    Args:
        sample: changed in place.
        matrix: (2, 3), where a point (x, y) goes.
        fill: colour of what comes into view, seg_fill: its label.
        min_size: boxes stay that are wider and higher, in pixels, after clipping.
    """
    height, width = sample['img'].shape[:2]
    size = (width, height)
    flags = INTERPOLATIONS[interpolation]
    sample['img'] = cv2.warpAffine(sample['img'], matrix, size, flags=flags, borderValue=fill)
    for key in sample.get('mask_fields', []):
        sample[key] = sample[key].affine(matrix)
    for key in sample.get('seg_fields', []):
        sample[key] = cv2.warpAffine(sample[key], matrix, size, flags=cv2.INTER_NEAREST, borderValue=seg_fill)
    for key in bbox_fields(sample):
        sample[key] = clip_bboxes(warped_bboxes(sample[key], matrix), (height, width))
        keep_objects(sample, key, ((sample[key][:, 2:4] - sample[key][:, :2]) > min_size).all(axis=1))


@PIPELINES.register_module()
class Rotate:
    """Rotates by `level` tenths of the largest angle, clockwise or, by chance, the other way. arXiv:1906.11172

    Args:
        level: strength from 0 to 10.
        scale: factor on top.
        center: (x, y) in pixels that stays in place; None for the middle.
        img_fill_val: colour of what comes into view, one number or three.
        seg_ignore_label: the same for semantic maps.
        prob: how often it happens.
        max_rotate_angle: degrees at level 10.
        random_negative_prob: how often it goes the other way.
    """

    def __init__(
        self,
        level: float,
        scale: float = 1,
        center: float | Sequence[float] | None = None,
        img_fill_val: Fill = 128,
        seg_ignore_label: int = 255,
        prob: float = 0.5,
        max_rotate_angle: float = 30,
        random_negative_prob: float = 0.5,
    ) -> None:
        check_level(level, 'Rotate')
        check_probability('Rotate', prob=prob, random_negative_prob=random_negative_prob)
        if scale <= 0:
            raise ValueError(f'Rotate.scale is above 0, got {scale}')
        self.angle = level / MAX_LEVEL * max_rotate_angle
        self.scale = scale
        self.center = (center, center) if isinstance(center, (int, float)) else center
        self.fill = as_fill(img_fill_val, 'Rotate')
        self.seg_ignore_label = seg_ignore_label
        self.prob = prob
        self.random_negative_prob = random_negative_prob

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        rng = rng_of(sample)
        if rng.random() >= self.prob:
            return sample
        height, width = sample['img'].shape[:2]
        center = ((width - 1) / 2, (height - 1) / 2) if self.center is None else self.center
        angle = -self.angle if rng.random() < self.random_negative_prob else self.angle
        # OpenCV counts angles counterclockwise
        matrix = cv2.getRotationMatrix2D((float(center[0]), float(center[1])), -angle, self.scale)
        warp(sample, matrix, self.fill, self.seg_ignore_label)
        return sample


@PIPELINES.register_module()
class Shear:
    """Shears by `level` tenths of the largest magnitude, to either side by chance. arXiv:1906.11172

    Args:
        level: strength from 0 to 10.
        img_fill_val, seg_ignore_label, prob, random_negative_prob: as in `Rotate`.
        direction: 'horizontal' moves rows, 'vertical' columns.
        max_shear_magnitude: pixels per pixel at level 10.
        interpolation: of the image: nearest, bilinear, bicubic, area, lanczos.
    """

    def __init__(
        self,
        level: float,
        img_fill_val: Fill = 128,
        seg_ignore_label: int = 255,
        prob: float = 0.5,
        direction: str = 'horizontal',
        max_shear_magnitude: float = 0.3,
        random_negative_prob: float = 0.5,
        interpolation: str = 'bilinear',
    ) -> None:
        check_level(level, 'Shear')
        check_probability('Shear', prob=prob, random_negative_prob=random_negative_prob)
        check_choice('direction', direction, AXES)
        check_choice('interpolation', interpolation, tuple(INTERPOLATIONS))
        self.magnitude = level / MAX_LEVEL * max_shear_magnitude
        self.fill = as_fill(img_fill_val, 'Shear')
        self.seg_ignore_label = seg_ignore_label
        self.prob = prob
        self.direction = direction
        self.random_negative_prob = random_negative_prob
        self.interpolation = interpolation

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        rng = rng_of(sample)
        if rng.random() >= self.prob:
            return sample
        magnitude = -self.magnitude if rng.random() < self.random_negative_prob else self.magnitude
        matrix = np.array([[1, 0, 0], [0, 1, 0]], dtype=np.float64)
        matrix[(0, 1) if self.direction == 'horizontal' else (1, 0)] = magnitude
        warp(sample, matrix, self.fill, self.seg_ignore_label, interpolation=self.interpolation)
        return sample


@PIPELINES.register_module()
class Translate:
    """Shifts by `level` tenths of the largest offset, to either side by chance. arXiv:1906.11172

    Args:
        level: strength from 0 to 10.
        prob, img_fill_val, seg_ignore_label, random_negative_prob: as in `Rotate`.
        direction: 'horizontal' or 'vertical'.
        max_translate_offset: pixels at level 10.
        min_size: boxes stay that are wider and higher, in pixels.
    """

    def __init__(
        self,
        level: float,
        prob: float = 0.5,
        img_fill_val: Fill = 128,
        seg_ignore_label: int = 255,
        direction: str = 'horizontal',
        max_translate_offset: float = 250.0,
        random_negative_prob: float = 0.5,
        min_size: float = 0,
    ) -> None:
        check_level(level, 'Translate')
        check_probability('Translate', prob=prob, random_negative_prob=random_negative_prob)
        check_choice('direction', direction, AXES)
        self.offset = int(level / MAX_LEVEL * max_translate_offset)
        self.fill = as_fill(img_fill_val, 'Translate')
        self.seg_ignore_label = seg_ignore_label
        self.prob = prob
        self.direction = direction
        self.random_negative_prob = random_negative_prob
        self.min_size = min_size

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        rng = rng_of(sample)
        if rng.random() >= self.prob:
            return sample
        offset = -self.offset if rng.random() < self.random_negative_prob else self.offset
        matrix = np.array([[1, 0, 0], [0, 1, 0]], dtype=np.float64)
        matrix[0 if self.direction == 'horizontal' else 1, 2] = offset
        warp(sample, matrix, self.fill, self.seg_ignore_label, self.min_size)
        return sample
