"""Other views of an image: parts of it, or the image as a part of a larger one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmkit.registry import PIPELINES
from mmkit.transforms.images import BORDERS, as_size, check_choice, surround
from mmkit.transforms.randomness import rng_of

PER_OBJECT = {'gt_bboxes': ('gt_labels', 'gt_masks')}


def keep_objects(sample: dict[str, Any], key: str, keep: np.ndarray) -> None:
    """Drop the boxes of field `key` where `keep` (N,) is False, and what else belongs to them."""
    for name in (key, *PER_OBJECT.get(key, ())):
        if name in sample:
            sample[name] = sample[name][keep]


def crop(sample: dict[str, Any], x1: int, y1: int, x2: int, y2: int, clip: bool) -> None:
    """Cut image, masks and map to the window and move the boxes along; no box is dropped, some may be empty."""
    sample['img'] = sample['img'][y1:y2, x1:x2]
    sample['img_shape'] = sample['pad_shape'] = sample['img'].shape
    for key in sample.get('bbox_fields', []):
        bboxes = sample[key].copy()
        bboxes[:, :4] -= np.array([x1, y1, x1, y1], dtype=np.float32)
        if clip:
            bboxes[:, 0:4:2] = bboxes[:, 0:4:2].clip(0, x2 - x1)
            bboxes[:, 1:4:2] = bboxes[:, 1:4:2].clip(0, y2 - y1)
        sample[key] = bboxes
    for key in sample.get('mask_fields', []):
        sample[key] = sample[key].crop(np.array([x1, y1, x2, y2]))
    for key in sample.get('seg_fields', []):
        sample[key] = sample[key][y1:y2, x1:x2]


def refuse_objects(transform: Any, sample: dict[str, Any]) -> None:
    """For transforms of the image alone, which would leave objects behind.

    Raises:
        ValueError: if there are any.
    """
    if any(sample.get(fields) for fields in ('bbox_fields', 'mask_fields', 'seg_fields')):
        raise ValueError(f'{type(transform).__name__} is for images of one class: boxes, masks and maps stay behind')


@PIPELINES.register_module()
class RandomCrop:
    """Cuts out a window at a random place. None if no object is left, unless `allow_negative_crop`.

    mmclassification has other words, from `size` on, for images of one class, which may be padded before; they exclude
    the others.

    Args:
        crop_size: (height, width) of the window, as `crop_type` reads it.
        crop_type: 'absolute' pixels; 'absolute_range': each side drawn between the smaller and the larger of the two
            numbers; 'relative' shares of the image; 'relative_range': drawn between the given shares and 1.
        allow_negative_crop: windows without objects are fine.
        recompute_bbox: boxes tightly around what is left of the masks.
        bbox_clip_border: clip boxes to the window.
        size: (height, width) of the window, or an edge for a square.
        padding: pixels at every side, (at left and right, at top and bottom), or (left, top, right, bottom).
        pad_if_needed: put as many pixels as are missing at both ends of a side that is shorter than the window.
        pad_val: what to pad with, a number or one a channel.
        padding_mode: 'constant' for `pad_val`, 'edge', or a mirror image: 'reflect' without the edge, 'symmetric' with.
    """

    def __init__(
        self,
        crop_size: Sequence[float] | None = None,
        crop_type: str = 'absolute',
        allow_negative_crop: bool = False,
        recompute_bbox: bool = False,
        bbox_clip_border: bool = True,
        size: int | Sequence[int] | None = None,
        padding: int | Sequence[int] | None = None,
        pad_if_needed: bool = False,
        pad_val: float | Sequence[float] = 0,
        padding_mode: str = 'constant',
    ) -> None:
        check_choice('padding_mode', padding_mode, tuple(BORDERS))
        of_objects = (crop_type, allow_negative_crop, recompute_bbox, bbox_clip_border)
        of_classes = (padding, pad_if_needed, pad_val, padding_mode)
        if size is not None and (crop_size is not None or of_objects != ('absolute', False, False, True)):
            raise ValueError(f'RandomCrop: size={size} is for images of one class, crop_size and the like for objects')
        if size is None and (crop_size is None or of_classes != (None, False, 0, 'constant')):
            raise ValueError('RandomCrop needs crop_size, or size, to which padding and the like belong')
        crop_size = crop_size if size is None else as_size(size)
        assert crop_size is not None
        self.of_classes = size is not None
        self.padding = _four_sides(padding)
        self.pad_if_needed = pad_if_needed
        self.pad_val = pad_val
        self.padding_mode = padding_mode
        check_choice('crop_type', crop_type, ('absolute', 'absolute_range', 'relative', 'relative_range'))
        if len(crop_size) != 2 or min(crop_size) <= 0:
            raise ValueError(f'crop_size is (height, width), both above 0; got {crop_size}')
        if crop_type.startswith('relative') and max(crop_size) > 1:
            raise ValueError(f'with crop_type={crop_type!r} crop_size is two shares of at most 1, got {crop_size}')
        self.crop_size = crop_size
        self.crop_type = crop_type
        self.allow_negative_crop = allow_negative_crop
        self.recompute_bbox = recompute_bbox
        self.bbox_clip_border = bbox_clip_border

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any] | None:
        rng = rng_of(sample)
        if self.of_classes:
            refuse_objects(self, sample)
            sample['img'] = self._pad(sample['img'])
        height, width = sample['img'].shape[:2]
        crop_h, crop_w = self._window(height, width, rng)
        y1, x1 = int(rng.integers(height - crop_h + 1)), int(rng.integers(width - crop_w + 1))
        crop(sample, x1, y1, x1 + crop_w, y1 + crop_h, self.bbox_clip_border)
        for key in sample.get('bbox_fields', []):
            inside = sample[key][:, :4].clip(0, (crop_w, crop_h, crop_w, crop_h))
            keep = (inside[:, 2:4] > inside[:, :2]).all(axis=1)
            if key == 'gt_bboxes' and not keep.any() and not self.allow_negative_crop:
                return None
            keep_objects(sample, key, keep)
        if self.recompute_bbox and 'gt_masks' in sample:
            sample['gt_bboxes'] = sample['gt_masks'].get_bboxes()
        return sample

    def _pad(self, img: np.ndarray) -> np.ndarray:
        img = surround(img, *self.padding, self.pad_val, self.padding_mode)
        if self.pad_if_needed:
            lack_h, lack_w = (max(int(size) - edge, 0) for size, edge in zip(self.crop_size, img.shape))
            img = surround(img, lack_w, lack_h, lack_w, lack_h, self.pad_val, self.padding_mode)
        return img

    def _window(self, height: int, width: int, rng: np.random.Generator) -> tuple[int, int]:
        size_h, size_w = self.crop_size
        if self.crop_type == 'absolute':
            return min(int(size_h), height), min(int(size_w), width)
        if self.crop_type == 'absolute_range':
            low, high = int(min(self.crop_size)), int(max(self.crop_size))
            crop_h = rng.integers(min(height, low), min(height, high) + 1)
            crop_w = rng.integers(min(width, low), min(width, high) + 1)
            return int(crop_h), int(crop_w)
        if self.crop_type == 'relative_range':
            size_h, size_w = rng.uniform(size_h, 1), rng.uniform(size_w, 1)
        return max(int(height * size_h + 0.5), 1), max(int(width * size_w + 0.5), 1)


def _four_sides(padding: int | Sequence[int] | None) -> tuple[int, int, int, int]:
    """left, top, right, bottom."""
    sides = [padding or 0] * 4 if isinstance(padding, int) or padding is None else list(padding)
    sides = sides * 2 if len(sides) == 2 else sides
    if len(sides) != 4 or min(sides) < 0:
        raise ValueError(f'RandomCrop: padding is a number, two or four of them, got {padding!r}')
    return sides[0], sides[1], sides[2], sides[3]


@PIPELINES.register_module()
class Expand:
    """Puts the image at a random place of a larger canvas. arXiv:1512.02325

    Args:
        mean: colour of the canvas.
        to_rgb: `mean` is RGB although the image is still BGR.
        ratio_range: (low, high) of new edge / old edge.
        seg_ignore_label: what the semantic map is filled with, needed if there is one.
        prob: how often.
    """

    def __init__(
        self,
        mean: Sequence[float] = (0, 0, 0),
        to_rgb: bool = True,
        ratio_range: Sequence[float] = (1, 4),
        seg_ignore_label: int | None = None,
        prob: float = 0.5,
    ) -> None:
        if min(ratio_range) < 1:
            raise ValueError(f'a canvas is not smaller than its image: ratio_range={ratio_range}')
        self.mean = tuple(mean[::-1]) if to_rgb else tuple(mean)
        self.ratio_range = ratio_range
        self.seg_ignore_label = seg_ignore_label
        self.prob = prob

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        rng = rng_of(sample)
        if rng.random() > self.prob:
            return sample
        img = sample['img']
        height, width = img.shape[:2]
        ratio = rng.uniform(self.ratio_range[0], self.ratio_range[1])
        new_h, new_w = int(height * ratio), int(width * ratio)
        top, left = int(rng.uniform(0, new_h - height)), int(rng.uniform(0, new_w - width))
        canvas = np.full((new_h, new_w, img.shape[2]), self.mean, dtype=img.dtype)
        canvas[top : top + height, left : left + width] = img
        sample['img'] = canvas
        sample['img_shape'] = sample['pad_shape'] = canvas.shape
        for key in sample.get('bbox_fields', []):
            sample[key] = sample[key].copy()
            sample[key][:, :4] += np.array([left, top, left, top], dtype=np.float32)
        for key in sample.get('mask_fields', []):
            sample[key] = sample[key].expand(new_h, new_w, top, left)
        for key in sample.get('seg_fields', []):
            sample[key] = self._expand_seg(sample[key], (new_h, new_w), top, left)
        return sample

    def _expand_seg(self, seg: np.ndarray, size: tuple[int, int], top: int, left: int) -> np.ndarray:
        if self.seg_ignore_label is None:
            raise ValueError('Expand needs seg_ignore_label to fill a semantic map')
        canvas = np.full(size, self.seg_ignore_label, dtype=seg.dtype)
        canvas[top : top + seg.shape[0], left : left + seg.shape[1]] = seg
        return canvas


@PIPELINES.register_module()
class MinIoURandomCrop:
    """Cuts out a window that overlaps with every object by at least a drawn IoU, or leaves the image whole.

    Objects with their centre inside of the window stay. arXiv:1512.02325

    Args:
        min_ious: the IoUs to draw from; 'any window' and 'the whole image' are drawn as often as each of them.
        min_crop_size: smallest edge of the window, as a share of that of the image.
        bbox_clip_border: clip boxes to the window.
    """

    NUM_TRIES = 50

    def __init__(
        self,
        min_ious: Sequence[float] = (0.1, 0.3, 0.5, 0.7, 0.9),
        min_crop_size: float = 0.3,
        bbox_clip_border: bool = True,
    ) -> None:
        self.modes = (1.0, *min_ious, 0.0)  # 1: the whole image; 0: any window
        self.min_crop_size = min_crop_size
        self.bbox_clip_border = bbox_clip_border

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        rng = rng_of(sample)
        fields = [sample[key][:, :4] for key in sample.get('bbox_fields', [])]
        bboxes = np.concatenate(fields) if fields else np.zeros((0, 4), np.float32)
        height, width = sample['img'].shape[:2]
        while True:
            min_iou = self.modes[rng.integers(len(self.modes))]
            if min_iou == 1:
                return sample
            for _ in range(self.NUM_TRIES):
                window = self._draw(height, width, rng)
                if window is not None and self._fits(window, bboxes, min_iou):
                    return self._cut(sample, window)

    def _draw(self, height: int, width: int, rng: np.random.Generator) -> np.ndarray | None:
        """(4,) int64 xyxy, or None if it is too long or too thin."""
        new_h, new_w = (rng.uniform(self.min_crop_size * edge, edge) for edge in (height, width))
        if not 0.5 <= new_h / new_w <= 2:
            return None
        left, top = rng.uniform(0, width - new_w), rng.uniform(0, height - new_h)
        window = np.array([left, top, left + new_w, top + new_h]).astype(np.int64)
        return window if (window[2:] > window[:2]).all() else None

    def _fits(self, window: np.ndarray, bboxes: np.ndarray, min_iou: float) -> bool:
        if not len(bboxes):
            return True
        edges = np.minimum(window[2:], bboxes[:, 2:]) - np.maximum(window[:2], bboxes[:, :2])
        overlaps = edges.clip(0).prod(axis=1)
        areas = (bboxes[:, 2:] - bboxes[:, :2]).prod(axis=1) + (window[2:] - window[:2]).prod()
        ious = overlaps / np.maximum(areas - overlaps, 1e-6)
        return bool(ious.min() >= min_iou and _centred_inside(window, bboxes).any())

    def _cut(self, sample: dict[str, Any], window: np.ndarray) -> dict[str, Any]:
        for key in sample.get('bbox_fields', []):
            keep_objects(sample, key, _centred_inside(window, sample[key]))
        x1, y1, x2, y2 = (int(edge) for edge in window)
        crop(sample, x1, y1, x2, y2, self.bbox_clip_border)
        return sample


def _centred_inside(window: np.ndarray, bboxes: np.ndarray) -> np.ndarray:
    """(N,) bool."""
    centers = (bboxes[:, :2] + bboxes[:, 2:4]) / 2
    return ((centers > window[:2]) & (centers < window[2:])).all(axis=1)


@PIPELINES.register_module()
class FilterAnnotations:
    """Drops objects that became too small.

    Args:
        min_gt_bbox_wh: boxes must be wider and higher than this, in pixels.
        min_gt_mask_area: masks must have at least so many pixels.
        by_box, by_mask: what decides.
        keep_empty: give None, that is another image, if nothing is left; False keeps such an image. (The name promises
            the opposite; configs rely on this meaning.)
    """

    def __init__(
        self,
        min_gt_bbox_wh: Sequence[float] = (1.0, 1.0),
        min_gt_mask_area: float = 1,
        by_box: bool = True,
        by_mask: bool = False,
        keep_empty: bool = True,
    ) -> None:
        if not by_box and not by_mask:
            raise ValueError('FilterAnnotations needs by_box=True or by_mask=True')
        self.min_gt_bbox_wh = min_gt_bbox_wh
        self.min_gt_mask_area = min_gt_mask_area
        self.by_box = by_box
        self.by_mask = by_mask
        self.keep_empty = keep_empty

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any] | None:
        bboxes = sample['gt_bboxes']
        if not len(bboxes):
            return sample
        keep = np.ones(len(bboxes), dtype=bool)
        if self.by_box:
            keep &= ((bboxes[:, 2:4] - bboxes[:, :2]) > np.asarray(self.min_gt_bbox_wh)).all(axis=1)
        if self.by_mask:
            keep &= sample['gt_masks'].areas >= self.min_gt_mask_area
        if not keep.any() and self.keep_empty:
            return None
        keep_objects(sample, 'gt_bboxes', keep)
        return sample
