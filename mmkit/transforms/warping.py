"""Rotation, shear and shift of known strength: the geometric operations of AutoAugment (arXiv:1906.11172)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import cv2
import numpy as np
from typing_extensions import Unpack

from mmkit.errors import InvalidValueError
from mmkit.registry import TRANSFORMS
from mmkit.transforms.base import FieldTransform, ObjectMasks, bbox_fields, keep_objects
from mmkit.transforms.checks import MAX_LEVEL, Size, check_choice, check_level, check_probability
from mmkit.transforms.coordinates import clip_bboxes, is_larger, warp_bboxes, warp_keypoints
from mmkit.transforms.images import INTERPOLATIONS

AXES = ('horizontal', 'vertical')
Fill = float | Sequence[float]


class WarpOptions(TypedDict, total=False):
    """Arguments that all operations share: see `WarpTransform`, also for the defaults."""

    prob: float
    random_negative_prob: float
    img_fill_val: Fill
    seg_ignore_label: int


@dataclass(frozen=True)
class Warp:
    """Parameters of `WarpTransform`.

    Attributes:
        matrix: (2, 3), where a point (x, y) goes.
        size: (height, width) of the image, before and after.
    """

    matrix: np.ndarray
    size: Size


class WarpTransform(FieldTransform[Warp]):
    """An affine map of a known strength, to either side by chance, on the same canvas; boxes that left it are dropped.

    Args:
        level: strength from 0 to 10, or None to draw it.
        prob: probability that it happens.
        random_negative_prob: probability that it goes the other way.
        img_fill_val: colour of pixels from outside of the image, 0..255, one number or three.
        seg_ignore_label: the same for semantic maps.
        interpolation: of the image.
        min_size: boxes stay that are wider and higher after clipping, in pixels.
    """

    def __init__(
        self,
        *,
        level: float | None,
        prob: float = 0.5,
        random_negative_prob: float = 0.5,
        img_fill_val: Fill = 128,
        seg_ignore_label: int = 255,
        interpolation: str = 'bilinear',
        min_size: float = 0,
    ) -> None:
        name = type(self).__name__
        if level is not None:
            check_level(name, level)
        check_probability(name, prob=prob, random_negative_prob=random_negative_prob)
        check_choice('interpolation', interpolation, INTERPOLATIONS)
        self.strength = None if level is None else level / MAX_LEVEL
        self.prob = prob
        self.random_negative_prob = random_negative_prob
        self.fill = _as_fill(img_fill_val, name)
        self.seg_ignore_label = seg_ignore_label
        self.interpolation = interpolation
        self.min_size = min_size

    def matrix(self, size: Size, strength: float) -> np.ndarray:
        """(2, 3) map of the points (x, y) of an image of `size` (height, width); `strength` is between -1 and 1."""
        raise NotImplementedError

    def draw(self, sample: dict[str, Any], rng: np.random.Generator) -> Warp | None:
        if rng.random() >= self.prob:
            return None
        size = sample['img'].shape[:2]
        sign = -1 if rng.random() < self.random_negative_prob else 1
        strength = rng.random() if self.strength is None else self.strength
        return Warp(self.matrix(size, sign * strength), size)

    def apply(self, sample: dict[str, Any], params: Warp) -> dict[str, Any] | None:
        super().apply(sample, params)
        for key in bbox_fields(sample):
            keep_objects(sample, key, is_larger(sample[key], self.min_size))
        return sample

    def apply_image(self, img: np.ndarray, params: Warp) -> np.ndarray:
        return _warp_pixels(img, params, self.interpolation, self.fill)

    def apply_boxes(self, bboxes: np.ndarray, params: Warp) -> np.ndarray:
        return clip_bboxes(warp_bboxes(bboxes, params.matrix), params.size)

    def apply_masks(self, masks: ObjectMasks, params: Warp) -> ObjectMasks:
        return masks.affine(params.matrix)

    def apply_semantic(self, seg: np.ndarray, params: Warp) -> np.ndarray:
        return _warp_pixels(seg, params, 'nearest', self.seg_ignore_label)

    def apply_keypoints(self, keypoints: np.ndarray, params: Warp) -> np.ndarray:
        return warp_keypoints(keypoints, params.matrix, params.size)

    def point_map(self, params: Warp) -> np.ndarray | None:
        return np.concatenate([params.matrix, [[0, 0, 1]]])


def _warp_pixels(img: np.ndarray, params: Warp, interpolation: str, fill: float | tuple[float, ...]) -> np.ndarray:
    height, width = params.size
    return cv2.warpAffine(img, params.matrix, (width, height), flags=INTERPOLATIONS[interpolation], borderValue=fill)


def _as_fill(value: Fill, name: str) -> tuple[float, ...]:
    fill = (float(value),) * 3 if isinstance(value, (int, float)) else tuple(float(each) for each in value)
    if len(fill) != 3 or not all(0 <= each <= 255 for each in fill):
        raise InvalidValueError(
            f'{name}.img_fill_val is a number or three between 0 and 255, got {value!r}', key='img_fill_val'
        )
    return fill


@TRANSFORMS.register_module()
class Rotate(WarpTransform):
    """Rotates by `level` tenths of the largest angle, clockwise or, by chance, the other way.

    Args:
        level: strength from 0 to 10, or None to draw it.
        scale: factor on top.
        center: (x, y) in pixels that stays in place; None for the middle.
        max_rotate_angle: degrees at level 10.
        options: see `WarpTransform`.
    """

    def __init__(
        self,
        level: float | None,
        scale: float = 1,
        center: float | Sequence[float] | None = None,
        max_rotate_angle: float = 30,
        **options: Unpack[WarpOptions],
    ) -> None:
        super().__init__(level=level, **options)
        if scale <= 0:
            raise InvalidValueError(f'Rotate.scale is above 0, got {scale}', key='scale')
        self.max_angle = max_rotate_angle
        self.scale = scale
        self.center = (center, center) if isinstance(center, (int, float)) else center

    def matrix(self, size: Size, strength: float) -> np.ndarray:
        height, width = size
        center = ((width - 1) / 2, (height - 1) / 2) if self.center is None else self.center
        # OpenCV counts angles counterclockwise
        angle = -strength * self.max_angle
        return cv2.getRotationMatrix2D((float(center[0]), float(center[1])), angle, self.scale)


@TRANSFORMS.register_module()
class Shear(WarpTransform):
    """Shears by `level` tenths of the largest magnitude, to either side by chance.

    Args:
        level: strength from 0 to 10, or None to draw it.
        direction: 'horizontal' moves rows, 'vertical' columns.
        max_shear_magnitude: pixels per pixel at level 10.
        interpolation: of the image: nearest, bilinear, bicubic, area, lanczos.
        max_shear_degree: angle at level 10, in place of `max_shear_magnitude`; the level is a share of it.
        options: see `WarpTransform`.
    """

    def __init__(
        self,
        level: float | None,
        direction: str = 'horizontal',
        max_shear_magnitude: float = 0.3,
        interpolation: str = 'bilinear',
        max_shear_degree: float | None = None,
        **options: Unpack[WarpOptions],
    ) -> None:
        super().__init__(level=level, interpolation=interpolation, **options)
        check_choice('direction', direction, AXES)
        self.axis = AXES.index(direction)
        self.max_magnitude = max_shear_magnitude
        self.max_angle = None if max_shear_degree is None else math.radians(max_shear_degree)

    def matrix(self, size: Size, strength: float) -> np.ndarray:
        matrix = np.eye(2, 3)
        magnitude = strength * self.max_magnitude if self.max_angle is None else math.tan(strength * self.max_angle)
        matrix[self.axis, 1 - self.axis] = magnitude
        return matrix


@TRANSFORMS.register_module()
class Translate(WarpTransform):
    """Shifts by `level` tenths of the largest offset, to either side by chance.

    Args:
        level: strength from 0 to 10, or None to draw it.
        direction: 'horizontal' or 'vertical'.
        max_translate_offset: pixels at level 10.
        min_size: boxes stay that are wider and higher, in pixels.
        interpolation: of the image: nearest, bilinear, bicubic, area, lanczos.
        max_translate_ratio: offset at level 10 as a share of the width or height, in place of `max_translate_offset`.
        options: see `WarpTransform`.
    """

    def __init__(
        self,
        level: float | None,
        direction: str = 'horizontal',
        max_translate_offset: float = 250.0,
        min_size: float = 0,
        interpolation: str = 'bilinear',
        max_translate_ratio: float | None = None,
        **options: Unpack[WarpOptions],
    ) -> None:
        super().__init__(level=level, min_size=min_size, interpolation=interpolation, **options)
        check_choice('direction', direction, AXES)
        self.axis = AXES.index(direction)
        self.max_offset = max_translate_offset
        self.max_ratio = max_translate_ratio

    def matrix(self, size: Size, strength: float) -> np.ndarray:
        matrix = np.eye(2, 3)
        max_offset = self.max_offset if self.max_ratio is None else self.max_ratio * size[1 - self.axis]
        matrix[self.axis, 2] = int(strength * max_offset)
        return matrix
