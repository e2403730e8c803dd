"""An image as a part of a larger canvas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmkit.errors import InvalidValueError
from mmkit.registry import TRANSFORMS
from mmkit.transforms.base import FieldTransform, ObjectMasks
from mmkit.transforms.checks import Size
from mmkit.transforms.coordinates import shift_bboxes


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


def _paste(img: np.ndarray, canvas: np.ndarray, place: Canvas) -> np.ndarray:
    canvas[place.top : place.top + img.shape[0], place.left : place.left + img.shape[1]] = img
    return canvas
