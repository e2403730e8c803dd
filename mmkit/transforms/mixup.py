"""The mean of two images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from mmkit.errors import InvalidValueError
from mmkit.registry import TRANSFORMS
from mmkit.transforms.base import FieldTransform, ObjectMasks, bbox_fields, keep_objects
from mmkit.transforms.checks import Size, check_probability
from mmkit.transforms.coordinates import clip_bboxes, flip_bboxes, is_recognisable, overlaps_image, shift_bboxes
from mmkit.transforms.mixing import ImageSource, as_img_scale, blank, fitted, merge_objects, others_of, placed


@dataclass(frozen=True)
class Overlay:
    """Parameters of `MixUp`, all of the other image.

    Attributes:
        factor: new / old size.
        canvas: (height, width) of the canvas on which it lies, scaled.
        flip: mirror the canvas.
        left, top: of the window of the canvas that is mixed in.
        size: (height, width) of that window, and of the result.
    """

    factor: float
    canvas: Size
    flip: bool
    left: int
    top: int
    size: Size


@TRANSFORMS.register_module()
class MixUp(FieldTransform[Overlay]):
    """The mean of the image and of another one, scaled, mirrored and cut at random, with the boxes of both.

    As in YOLOX (arXiv:2107.08430), after arXiv:1710.09412.

    Args:
        img_scale: (height, width) into which the other image is fitted first.
        ratio_range: (low, high) of the factor by which it is scaled then.
        flip_ratio: it is mirrored where a number drawn between 0 and 1 is larger, that is, with probability
            1 - flip_ratio. (The name promises the opposite; mmdetection does this.)
        pad_val: colour around it.
        max_iters: draws of another image until one has objects.
        min_bbox_size: smallest width and height of a box of the other image that is kept, in pixels, unless
            `skip_filter`.
        min_area_ratio: smallest share of its area that must be left of it.
        max_aspect_ratio: largest ratio of its edges.
        bbox_clip_border: clip the boxes of the other image to the image.
        skip_filter: keep all boxes that overlap with the image.
        prob: probability that it happens; otherwise the image stays as it is.
    """

    def __init__(
        self,
        img_scale: Sequence[int] = (640, 640),
        ratio_range: Sequence[float] = (0.5, 1.5),
        flip_ratio: float = 0.5,
        pad_val: float | Sequence[float] = 114,
        max_iters: int = 15,
        min_bbox_size: float = 5,
        min_area_ratio: float = 0.2,
        max_aspect_ratio: float = 20,
        bbox_clip_border: bool = True,
        skip_filter: bool = True,
        prob: float = 1.0,
    ) -> None:
        check_probability('MixUp', prob=prob)
        if not 0 < ratio_range[0] <= ratio_range[1]:
            raise InvalidValueError(f'MixUp.ratio_range is (low, high) above 0, got {ratio_range}', key='ratio_range')
        if max_iters < 1:
            raise InvalidValueError(f'MixUp.max_iters is at least 1, got {max_iters}', key='max_iters')
        self.img_scale = as_img_scale(img_scale, 'MixUp')
        self.ratio_range = ratio_range
        self.flip_ratio = flip_ratio
        self.pad_val = pad_val
        self.max_iters = max_iters
        self.limits = (min_bbox_size, min_area_ratio, max_aspect_ratio)
        self.bbox_clip_border = bbox_clip_border
        self.skip_filter = skip_filter
        self.prob = prob

    def get_indexes(self, dataset: ImageSource, rng: np.random.Generator | None = None) -> int:
        """An image with objects, if `max_iters` draws find one."""
        rng = rng or np.random.default_rng()
        for _ in range(self.max_iters):
            index = int(rng.integers(len(dataset)))
            if len(dataset.get_cat_ids(index)):
                break
        return index

    def draw(self, sample: dict[str, Any], rng: np.random.Generator) -> Overlay | None:
        other = others_of(sample, 'MixUp')[0]
        if not len(other['gt_bboxes']) or (self.prob < 1 and rng.random() >= self.prob):
            return None
        jitter = rng.uniform(self.ratio_range[0], self.ratio_range[1])
        flip = rng.random() > self.flip_ratio
        height, width = (max(int(edge * jitter), 1) for edge in self.img_scale)
        size = sample['img'].shape[:2]
        top, left = (int(rng.integers(max(have - want, 0) + 1)) for have, want in zip((height, width), size))
        _, factor = fitted(other['img'].shape, self.img_scale)
        return Overlay(factor * jitter, (height, width), flip, left, top, size)

    def apply(self, sample: dict[str, Any], params: Overlay) -> dict[str, Any] | None:
        other = others_of(sample, 'MixUp')[0]
        moved = dict(other)
        super().apply(moved, params)
        for key in bbox_fields(sample):
            keep = overlaps_image(moved[key], params.size)
            if not self.skip_filter:
                keep &= is_recognisable(self._boxes_on_canvas(other[key], params), moved[key], *self.limits)
            keep_objects(moved, key, keep)
        own, patch = sample['img'].astype(np.float32), moved['img'].astype(np.float32)
        sample['img'] = cv2.addWeighted(own, 0.5, patch, 0.5, 0).astype(np.uint8)
        sample['img_shape'] = sample['pad_shape'] = sample['img'].shape
        merge_objects(sample, [sample, moved])
        return sample

    def apply_image(self, img: np.ndarray, params: Overlay) -> np.ndarray:
        size, _ = fitted(img.shape, self.img_scale)
        canvas = blank(img, self.img_scale, self.pad_val)
        canvas[: size[0], : size[1]] = cv2.resize(img, size[::-1], interpolation=cv2.INTER_LINEAR)
        canvas = cv2.resize(canvas, params.canvas[::-1], interpolation=cv2.INTER_LINEAR)
        canvas = canvas[:, ::-1] if params.flip else canvas
        window = canvas[params.top :, params.left :][: params.size[0], : params.size[1]]
        patch = blank(img, params.size, self.pad_val)
        patch[: window.shape[0], : window.shape[1]] = window
        return patch

    def apply_boxes(self, bboxes: np.ndarray, params: Overlay) -> np.ndarray:
        bboxes = shift_bboxes(self._boxes_on_canvas(bboxes, params), -params.left, -params.top)
        return clip_bboxes(bboxes, params.size) if self.bbox_clip_border else bboxes

    def apply_masks(self, masks: ObjectMasks, params: Overlay) -> ObjectMasks:
        size = fitted((masks.height, masks.width), self.img_scale)[0]
        masks = masks.resize(size).pad(self.img_scale).resize(params.canvas)
        masks = masks.flip('horizontal') if params.flip else masks
        return placed(masks, params.size, -params.left, -params.top)

    def _boxes_on_canvas(self, bboxes: np.ndarray, params: Overlay) -> np.ndarray:
        scaled = bboxes * np.float32(params.factor)
        if self.bbox_clip_border:
            scaled = clip_bboxes(scaled, params.canvas)
        return flip_bboxes(scaled, params.canvas, 'horizontal') if params.flip else scaled


# 3.x takes the other image from a cache of its process; here it is drawn from the whole dataset, so that a sample does
# not depend on what its process has made before.
TRANSFORMS.register_module('CachedMixUp', module=MixUp)
