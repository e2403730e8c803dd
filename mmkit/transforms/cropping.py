"""Windows of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmkit.errors import InvalidValueError
from mmkit.registry import TRANSFORMS
from mmkit.transforms.base import FieldTransform, ObjectMasks, bbox_fields, keep_objects
from mmkit.transforms.checks import Size, as_size, check_choice
from mmkit.transforms.coordinates import clip_bboxes, hide_outside, is_larger, shift_bboxes, shift_map
from mmkit.transforms.images import BORDERS, surround


@dataclass(frozen=True)
class Window:
    """A part of an image, in pixels."""

    left: int
    top: int
    width: int
    height: int

    @property
    def size(self) -> Size:
        return self.height, self.width

    @property
    def corners(self) -> np.ndarray:
        """(4,) int64 xyxy."""
        return np.array([self.left, self.top, self.left + self.width, self.top + self.height])

    def cut(self, img: np.ndarray) -> np.ndarray:
        """(H, W, ...) to (height, width, ...), a view."""
        return img[self.top : self.top + self.height, self.left : self.left + self.width]


class WindowCrop(FieldTransform[Window]):
    """Cuts fields to a window. No box is dropped; some may be empty afterwards."""

    changes_size = True
    bbox_clip_border = True

    def apply_image(self, img: np.ndarray, params: Window) -> np.ndarray:
        return params.cut(img)

    def apply_boxes(self, bboxes: np.ndarray, params: Window) -> np.ndarray:
        bboxes = shift_bboxes(bboxes, -params.left, -params.top)
        return clip_bboxes(bboxes, params.size) if self.bbox_clip_border else bboxes

    def apply_masks(self, masks: ObjectMasks, params: Window) -> ObjectMasks:
        return masks.crop(params.corners)

    def apply_semantic(self, seg: np.ndarray, params: Window) -> np.ndarray:
        return params.cut(seg)

    def apply_keypoints(self, keypoints: np.ndarray, params: Window) -> np.ndarray:
        return hide_outside(keypoints - np.array([params.left, params.top, 0], np.float32), params.size)

    def point_map(self, params: Window) -> np.ndarray | None:
        return shift_map(-params.left, -params.top)


@TRANSFORMS.register_module()
class RandomCrop(WindowCrop):
    """Cuts out a window at a random place. None if no object is left, unless `allow_negative_crop`.

    The arguments from `size` on are mmclassification's, for images of one class, which may be padded before; they
    exclude the others.

    Args:
        crop_size: (height, width) of the window, as `crop_type` reads it.
        crop_type: 'absolute' pixels; 'absolute_range': each side drawn between the smaller and the larger of the two
            numbers; 'relative' shares of the image; 'relative_range': drawn between the given shares and 1.
        allow_negative_crop: windows without objects are fine.
        recompute_bbox: compute boxes anew, tightly around the cut masks.
        bbox_clip_border: clip boxes to the window.
        size: (height, width) of the window, or an edge for a square.
        padding: pixels at every side, (at left and right, at top and bottom), or (left, top, right, bottom).
        pad_if_needed: put as many pixels as are missing at both ends of a side that is shorter than the window.
        pad_val: value of the padding, a number or one a channel.
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
        check_choice('padding_mode', padding_mode, BORDERS)
        check_choice('crop_type', crop_type, ('absolute', 'absolute_range', 'relative', 'relative_range'))
        for_objects = (crop_type, allow_negative_crop, recompute_bbox, bbox_clip_border)
        for_classes = (padding, pad_if_needed, pad_val, padding_mode)
        if size is not None and (crop_size is not None or for_objects != ('absolute', False, False, True)):
            raise InvalidValueError(
                f'RandomCrop: size={size} is for images of one class, crop_size and the like for objects', key='size'
            )
        if size is None and (crop_size is None or for_classes != (None, False, 0, 'constant')):
            raise InvalidValueError('RandomCrop needs crop_size, or size, to which padding and the like belong')
        crop_size = crop_size if size is None else as_size(size)
        assert crop_size is not None
        if len(crop_size) != 2 or min(crop_size) <= 0:
            raise InvalidValueError(f'crop_size is (height, width), both above 0; got {crop_size}', key='crop_size')
        if crop_type.startswith('relative') and max(crop_size) > 1:
            raise InvalidValueError(
                f'with crop_type={crop_type!r} crop_size is two shares of at most 1, got {crop_size}', key='crop_size'
            )
        self.for_classes = size is not None
        self.padding = _four_sides(padding)
        self.pad_if_needed = pad_if_needed
        self.pad_val = pad_val
        self.padding_mode = padding_mode
        self.crop_size = crop_size
        self.crop_type = crop_type
        self.allow_negative_crop = allow_negative_crop
        self.recompute_bbox = recompute_bbox
        self.bbox_clip_border = bbox_clip_border

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any] | None:
        if self.for_classes:
            if any(sample.get(fields) for fields in ('bbox_fields', 'mask_fields', 'seg_fields', 'keypoint_fields')):
                raise InvalidValueError(
                    'RandomCrop: size is for images of one class, use crop_size for objects', 'size'
                )
            sample['img'] = self._pad(sample['img'])
        return super().__call__(sample)

    def draw(self, sample: dict[str, Any], rng: np.random.Generator) -> Window:
        height, width = sample['img'].shape[:2]
        crop_h, crop_w = self._draw_size(height, width, rng)
        top, left = int(rng.integers(height - crop_h + 1)), int(rng.integers(width - crop_w + 1))
        return Window(left, top, crop_w, crop_h)

    def apply(self, sample: dict[str, Any], params: Window) -> dict[str, Any] | None:
        super().apply(sample, params)
        for key in bbox_fields(sample):
            keep = is_larger(clip_bboxes(sample[key], params.size), 0)
            if key == 'gt_bboxes' and not keep.any() and not self.allow_negative_crop:
                return None
            keep_objects(sample, key, keep)
        if self.recompute_bbox and 'gt_masks' in sample:
            sample['gt_bboxes'] = sample['gt_masks'].get_bboxes()
        return sample

    def _pad(self, img: np.ndarray) -> np.ndarray:
        img = surround(img, self.padding, self.pad_val, self.padding_mode)
        if self.pad_if_needed:
            lack_h, lack_w = (max(int(size) - edge, 0) for size, edge in zip(self.crop_size, img.shape))
            img = surround(img, (lack_w, lack_h, lack_w, lack_h), self.pad_val, self.padding_mode)
        return img

    def _draw_size(self, height: int, width: int, rng: np.random.Generator) -> Size:
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
        raise InvalidValueError(f'RandomCrop: padding is a number, two or four of them, got {padding!r}', key='padding')
    return sides[0], sides[1], sides[2], sides[3]


@TRANSFORMS.register_module()
class MinIoURandomCrop(WindowCrop):
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

    def draw(self, sample: dict[str, Any], rng: np.random.Generator) -> Window | None:
        fields = [sample[key][:, :4] for key in bbox_fields(sample)]
        bboxes = np.concatenate(fields) if fields else np.zeros((0, 4), np.float32)
        height, width = sample['img'].shape[:2]
        while True:
            min_iou = self.modes[rng.integers(len(self.modes))]
            if min_iou == 1:
                return None
            for _ in range(self.NUM_TRIES):
                window = self._draw_window(height, width, rng)
                if window is not None and _is_allowed(window, bboxes, min_iou):
                    return window

    def apply(self, sample: dict[str, Any], params: Window) -> dict[str, Any] | None:
        for key in bbox_fields(sample):
            keep_objects(sample, key, centred_inside(params, sample[key]))
        return super().apply(sample, params)

    def _draw_window(self, height: int, width: int, rng: np.random.Generator) -> Window | None:
        """None if it is too long or too thin."""
        new_h, new_w = (rng.uniform(self.min_crop_size * edge, edge) for edge in (height, width))
        if not 0.5 <= new_h / new_w <= 2:
            return None
        left, top = rng.uniform(0, width - new_w), rng.uniform(0, height - new_h)
        x1, y1, x2, y2 = int(left), int(top), int(left + new_w), int(top + new_h)
        return Window(x1, y1, x2 - x1, y2 - y1) if x2 > x1 and y2 > y1 else None


def _is_allowed(window: Window, bboxes: np.ndarray, min_iou: float) -> bool:
    if not len(bboxes):
        return True
    edges = np.minimum(window.corners[2:], bboxes[:, 2:]) - np.maximum(window.corners[:2], bboxes[:, :2])
    overlaps = edges.clip(0).prod(axis=1)
    areas = (bboxes[:, 2:] - bboxes[:, :2]).prod(axis=1) + window.width * window.height
    ious = overlaps / np.maximum(areas - overlaps, 1e-6)
    return bool(ious.min() >= min_iou and centred_inside(window, bboxes).any())


def centred_inside(window: Window, bboxes: np.ndarray) -> np.ndarray:
    """(N,) bool: boxes with their centre in the window."""
    centers = (bboxes[:, :2] + bboxes[:, 2:4]) / 2
    is_inside: np.ndarray = np.all((centers > window.corners[:2]) & (centers < window.corners[2:]), axis=1)
    return is_inside


@TRANSFORMS.register_module()
class FilterAnnotations:
    """Drops objects that became too small.

    Args:
        min_gt_bbox_wh: boxes must be wider and higher than this, in pixels.
        min_gt_mask_area: masks must have at least so many pixels.
        by_box, by_mask: apply the limit of boxes, of masks.
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
            raise InvalidValueError('FilterAnnotations needs by_box=True or by_mask=True', key='by_box')
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
            keep &= is_larger(bboxes, self.min_gt_bbox_wh)
        if self.by_mask:
            keep &= sample['gt_masks'].areas >= self.min_gt_mask_area
        if not keep.any() and self.keep_empty:
            return None
        keep_objects(sample, 'gt_bboxes', keep)
        return sample
