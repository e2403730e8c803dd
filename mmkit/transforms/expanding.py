"""Larger canvases: an image at any place of one, and padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmkit.errors import InvalidValueError
from mmkit.registry import TRANSFORMS
from mmkit.transforms.base import FieldTransform, ObjectMasks
from mmkit.transforms.checks import Size
from mmkit.transforms.coordinates import shift_bboxes, shift_map
from mmkit.transforms.images import pad_image


@dataclass(frozen=True)
class Canvas:
    """Parameters of `Expand`: where the image lies on a canvas of `size` (height, width)."""

    size: Size
    left: int
    top: int


@TRANSFORMS.register_module()
class Expand(FieldTransform[Canvas]):
    """Puts the image at a random place of a larger canvas. arXiv:1512.02325

    Args:
        mean: colour of the canvas.
        to_rgb: `mean` is RGB although the image is still BGR.
        ratio_range: (low, high) of new edge / old edge.
        seg_ignore_label: label of the canvas in semantic maps, needed if there are any.
        prob: probability that it happens.
    """

    changes_size = True

    def __init__(
        self,
        mean: Sequence[float] = (0, 0, 0),
        to_rgb: bool = True,
        ratio_range: Sequence[float] = (1, 4),
        seg_ignore_label: int | None = None,
        prob: float = 0.5,
    ) -> None:
        if min(ratio_range) < 1:
            raise InvalidValueError(
                f'a canvas is not smaller than its image: ratio_range={ratio_range}', key='ratio_range'
            )
        self.mean = tuple(mean[::-1]) if to_rgb else tuple(mean)
        self.ratio_range = ratio_range
        self.seg_ignore_label = seg_ignore_label
        self.prob = prob

    def draw(self, sample: dict[str, Any], rng: np.random.Generator) -> Canvas | None:
        if rng.random() > self.prob:
            return None
        height, width = sample['img'].shape[:2]
        ratio = rng.uniform(self.ratio_range[0], self.ratio_range[1])
        new_h, new_w = int(height * ratio), int(width * ratio)
        top, left = int(rng.uniform(0, new_h - height)), int(rng.uniform(0, new_w - width))
        return Canvas((new_h, new_w), left, top)

    def apply_image(self, img: np.ndarray, params: Canvas) -> np.ndarray:
        return _paste(img, np.full((*params.size, img.shape[2]), self.mean, dtype=img.dtype), params)

    def apply_boxes(self, bboxes: np.ndarray, params: Canvas) -> np.ndarray:
        return shift_bboxes(bboxes, params.left, params.top)

    def apply_masks(self, masks: ObjectMasks, params: Canvas) -> ObjectMasks:
        return masks.expand(*params.size, params.top, params.left)

    def apply_semantic(self, seg: np.ndarray, params: Canvas) -> np.ndarray:
        if self.seg_ignore_label is None:
            raise InvalidValueError('Expand needs seg_ignore_label to fill a semantic map', key='seg_ignore_label')
        return _paste(seg, np.full(params.size, self.seg_ignore_label, dtype=seg.dtype), params)

    def apply_keypoints(self, keypoints: np.ndarray, params: Canvas) -> np.ndarray:
        return keypoints + np.array([params.left, params.top, 0], np.float32)

    def point_map(self, params: Canvas) -> np.ndarray | None:
        return shift_map(params.left, params.top)


def _paste(img: np.ndarray, canvas: np.ndarray, place: Canvas) -> np.ndarray:
    canvas[place.top : place.top + img.shape[0], place.left : place.left + img.shape[1]] = img
    return canvas


@TRANSFORMS.register_module()
class Pad(FieldTransform[Size]):
    """Pads at the right and at the bottom. Sets `pad_shape`.

    Args:
        size: the new (height, width).
        size_divisor: to the next multiples of it.
        pad_to_square: to a square of the longer edge. Exactly one of the three is given.
        pad_val: dict(img=, masks=, seg=) of numbers (img: also one a channel), or a number for image and masks.
    """

    def __init__(
        self,
        size: Sequence[int] | None = None,
        size_divisor: int | None = None,
        pad_to_square: bool = False,
        pad_val: Mapping[str, Any] | float | None = None,
    ) -> None:
        if (size is not None) + (size_divisor is not None) + bool(pad_to_square) != 1:
            raise InvalidValueError(
                'Pad needs exactly one of size, size_divisor and pad_to_square, got '
                f'size={size}, size_divisor={size_divisor}, pad_to_square={pad_to_square}'
            )
        if isinstance(pad_val, (int, float)):
            pad_val = dict(img=pad_val, masks=pad_val)
        self.pad_val: dict[str, Any] = {'img': 0, 'masks': 0, 'seg': 255, **(pad_val or {})}
        if len(self.pad_val) > 3:
            raise InvalidValueError(
                f'pad_val has values for img, masks and seg, got {sorted(self.pad_val)}', key='pad_val'
            )
        self.size = size
        self.size_divisor = size_divisor
        self.pad_to_square = pad_to_square

    def draw(self, sample: dict[str, Any], rng: np.random.Generator) -> Size:
        height, width = sample['img'].shape[:2]
        if self.size is not None:
            return int(self.size[0]), int(self.size[1])
        if self.size_divisor is not None:
            step = self.size_divisor
            return -(-height // step) * step, -(-width // step) * step
        return max(height, width), max(height, width)

    def apply(self, sample: dict[str, Any], params: Size) -> dict[str, Any] | None:
        super().apply(sample, params)
        sample.update(pad_shape=sample['img'].shape, pad_fixed_size=self.size, pad_size_divisor=self.size_divisor)
        return sample

    def apply_image(self, img: np.ndarray, params: Size) -> np.ndarray:
        return pad_image(img, *params, self.pad_val['img'])

    def apply_boxes(self, bboxes: np.ndarray, params: Size) -> np.ndarray:
        return bboxes

    def apply_masks(self, masks: ObjectMasks, params: Size) -> ObjectMasks:
        return masks.pad(params, pad_val=int(self.pad_val['masks']))

    def apply_semantic(self, seg: np.ndarray, params: Size) -> np.ndarray:
        return pad_image(seg, *params, self.pad_val['seg'])

    def apply_keypoints(self, keypoints: np.ndarray, params: Size) -> np.ndarray:
        return keypoints
