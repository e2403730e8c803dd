"""A shift by a few pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from mmkit.errors import InvalidValueError
from mmkit.registry import TRANSFORMS
from mmkit.transforms.base import FieldTransform, ObjectMasks, bbox_fields, keep_objects
from mmkit.transforms.checks import Size, check_probability
from mmkit.transforms.coordinates import clip_bboxes, is_larger, shift_bboxes, shift_map


@dataclass(frozen=True)
class Shift:
    """Parameters of `RandomShift`: pixels to the right and down, and the (height, width) of the image."""

    x: int
    y: int
    size: Size


@TRANSFORMS.register_module()
class RandomShift(FieldTransform[Shift]):
    """Shifts an image by a few pixels, unless that would lose all objects; what comes in is black. arXiv:2103.09460

    Args:
        prob: probability that it happens.
        max_shift_px: at most so many pixels in each direction.
        filter_thr_px: boxes stay that are wider and higher after clipping, in pixels.
    """

    def __init__(self, prob: float = 0.5, max_shift_px: int = 32, filter_thr_px: int = 1) -> None:
        check_probability('RandomShift', prob=prob)
        if max_shift_px < 0:
            raise InvalidValueError(f'RandomShift.max_shift_px is at least 0, got {max_shift_px}', key='max_shift_px')
        self.prob = prob
        self.max_shift_px = max_shift_px
        self.filter_thr_px = filter_thr_px

    def draw(self, sample: dict[str, Any], rng: np.random.Generator) -> Shift | None:
        if rng.random() >= self.prob:
            return None
        x, y = rng.integers(-self.max_shift_px, self.max_shift_px, size=2, endpoint=True).tolist()
        shift = Shift(x, y, sample['img'].shape[:2])
        bboxes = sample.get('gt_bboxes')
        if bboxes is not None and len(bboxes) and not self._keeps(self.apply_boxes(bboxes, shift)).any():
            return None
        return shift

    def apply(self, sample: dict[str, Any], params: Shift) -> dict[str, Any] | None:
        super().apply(sample, params)
        for key in bbox_fields(sample):
            keep_objects(sample, key, self._keeps(sample[key]))
        return sample

    def apply_image(self, img: np.ndarray, params: Shift) -> np.ndarray:
        height, width = params.size
        return cv2.warpAffine(img, shift_map(params.x, params.y)[:2], (width, height), flags=cv2.INTER_NEAREST)

    def apply_boxes(self, bboxes: np.ndarray, params: Shift) -> np.ndarray:
        return clip_bboxes(shift_bboxes(bboxes, params.x, params.y), params.size)

    def apply_masks(self, masks: ObjectMasks, params: Shift) -> ObjectMasks:
        return masks.affine(shift_map(params.x, params.y)[:2])

    def point_map(self, params: Shift) -> np.ndarray | None:
        return shift_map(params.x, params.y)

    def _keeps(self, bboxes: np.ndarray) -> np.ndarray:
        return is_larger(bboxes, self.filter_thr_px)
