"""Parts of an image that are covered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmkit.errors import InvalidValueError
from mmkit.registry import TRANSFORMS
from mmkit.structures import BitmapMasks
from mmkit.transforms.base import FieldTransform, ObjectMasks, PixelTransform, bbox_fields, keep_objects
from mmkit.transforms.checks import check_probability
from mmkit.transforms.cropping import Window

Windows = Sequence[Window]


@TRANSFORMS.register_module()
class RandomErasing(FieldTransform[Windows]):
    """Covers rectangles of one colour at random places; objects of which too little is left are dropped.

    Masks become bitmaps. arXiv:1708.04896

    Args:
        n_patches: number of rectangles, or (low, high), of which `high` is never drawn.
        ratio: edges of a rectangle as a share of those of the image, or (low, high) between which it is drawn.
        squared: draw one share for both edges.
        bbox_erased_thr: objects are dropped of whose box more than this share is covered.
        img_border_value: colour, 0..255, one number or three.
        mask_border_value: the same for masks.
        seg_ignore_label: the same for semantic maps.
    """

    def __init__(
        self,
        n_patches: int | Sequence[int],
        ratio: float | Sequence[float],
        squared: bool = True,
        bbox_erased_thr: float = 0.9,
        img_border_value: float | Sequence[float] = 128,
        mask_border_value: int = 0,
        seg_ignore_label: int = 255,
    ) -> None:
        self.n_patches = (n_patches, n_patches + 1) if isinstance(n_patches, int) else tuple(n_patches)
        self.ratio = (ratio, ratio) if isinstance(ratio, (int, float)) else tuple(ratio)
        if not 0 <= self.n_patches[0] < self.n_patches[1]:
            message = f'RandomErasing.n_patches is a number or (low, high), got {n_patches}'
            raise InvalidValueError(message, key='n_patches')
        if not 0 <= self.ratio[0] <= self.ratio[1] < 1:
            raise InvalidValueError(f'RandomErasing.ratio is between 0 and 1, got {ratio}', key='ratio')
        check_probability('RandomErasing', bbox_erased_thr=bbox_erased_thr)
        self.squared = squared
        self.bbox_erased_thr = bbox_erased_thr
        self.img_border_value = img_border_value
        self.mask_border_value = mask_border_value
        self.seg_ignore_label = seg_ignore_label

    def draw(self, sample: dict[str, Any], rng: np.random.Generator) -> Windows | None:
        height, width = sample['img'].shape[:2]
        windows = []
        for _ in range(rng.integers(self.n_patches[0], self.n_patches[1])):
            shares = rng.uniform(self.ratio[0], self.ratio[1], size=1 if self.squared else 2)
            patch_h, patch_w = int(height * shares[0]), int(width * shares[-1])
            top, left = int(rng.integers(height - patch_h)), int(rng.integers(width - patch_w))
            windows.append(Window(left, top, patch_w, patch_h))
        return windows

    def apply(self, sample: dict[str, Any], params: Windows) -> dict[str, Any] | None:
        is_erased = self._covered(np.zeros(sample['img'].shape[:2], bool), params, True)
        super().apply(sample, params)
        for key in bbox_fields(sample):
            keep = [_share_inside(bbox, is_erased) <= self.bbox_erased_thr for bbox in sample[key]]
            keep_objects(sample, key, np.array(keep, dtype=bool))
        return sample

    def apply_image(self, img: np.ndarray, params: Windows) -> np.ndarray:
        return self._covered(img, params, self.img_border_value)

    def apply_boxes(self, bboxes: np.ndarray, params: Windows) -> np.ndarray:
        return bboxes

    def apply_masks(self, masks: ObjectMasks, params: Windows) -> ObjectMasks:
        pixels = [self._covered(mask, params, self.mask_border_value) for mask in masks.to_ndarray()]
        return BitmapMasks(pixels, masks.height, masks.width)

    def apply_semantic(self, seg: np.ndarray, params: Windows) -> np.ndarray:
        return self._covered(seg, params, self.seg_ignore_label)

    def _covered(self, img: np.ndarray, windows: Windows, value: float | Sequence[float]) -> np.ndarray:
        img = img.copy()
        for window in windows:
            window.cut(img)[:] = value
        return img


def _share_inside(bbox: np.ndarray, region: np.ndarray) -> float:
    """Share of the pixels of a box that are in a region, (H, W) bool."""
    x1, y1, x2, y2 = (int(edge) for edge in bbox[:4])
    inside = region[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)]
    return float(inside.mean()) if inside.size else 0.0


@TRANSFORMS.register_module()
class CutOut(PixelTransform[Windows]):
    """Covers rectangles of given sizes at random places; objects stay. arXiv:1708.04552

    Args:
        n_holes: number of rectangles, or (low, high), both included.
        cutout_shape: (width, height) of a rectangle in pixels, or a list of such pairs, of which one is drawn.
        cutout_ratio: the same as shares of the image; exactly one of the two is given.
        fill_in: colour.
    """

    def __init__(
        self,
        n_holes: int | Sequence[int],
        cutout_shape: Sequence[int] | Sequence[Sequence[int]] | None = None,
        cutout_ratio: Sequence[float] | Sequence[Sequence[float]] | None = None,
        fill_in: Sequence[float] = (0, 0, 0),
    ) -> None:
        if (cutout_shape is None) == (cutout_ratio is None):
            raise InvalidValueError('CutOut needs cutout_shape or cutout_ratio, not both', key='cutout_shape')
        self.n_holes = (n_holes, n_holes) if isinstance(n_holes, int) else tuple(n_holes)
        if not 0 <= self.n_holes[0] <= self.n_holes[1]:
            raise InvalidValueError(f'CutOut.n_holes is a number or (low, high), got {n_holes}', key='n_holes')
        sizes: Any = cutout_ratio if cutout_shape is None else cutout_shape
        self.sizes: Sequence[Sequence[float]] = sizes if isinstance(sizes[0], (list, tuple)) else [sizes]
        self.is_ratio = cutout_shape is None
        self.fill_in = fill_in

    def draw(self, sample: dict[str, Any], rng: np.random.Generator) -> Windows | None:
        height, width = sample['img'].shape[:2]
        windows = []
        for _ in range(rng.integers(self.n_holes[0], self.n_holes[1], endpoint=True)):
            left, top = int(rng.integers(width)), int(rng.integers(height))
            size = self.sizes[int(rng.integers(len(self.sizes)))]
            unit = (width, height) if self.is_ratio else (1, 1)
            windows.append(Window(left, top, int(size[0] * unit[0]), int(size[1] * unit[1])))
        return windows

    def apply_image(self, img: np.ndarray, params: Windows) -> np.ndarray:
        img = img.copy()
        for window in params:
            window.cut(img)[:] = self.fill_in
        return img
