"""Images made of several images; `MultiImageMixDataset` brings the others in `sample['mix_results']`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np

from mmkit.errors import InvalidValueError
from mmkit.registry import TRANSFORMS
from mmkit.transforms.base import FieldTransform, bbox_fields, keep_objects
from mmkit.transforms.checks import Size, check_probability
from mmkit.transforms.coordinates import (
    clip_bboxes,
    flip_bboxes,
    is_larger,
    is_recognisable,
    overlaps_image,
    shift_bboxes,
)
from mmkit.transforms.randomness import rng_of


class ImageSource(Protocol):
    """A dataset from which the other images are chosen."""

    def __len__(self) -> int: ...

    def get_cat_ids(self, index: int) -> list[int]:
        """The labels of the objects of an image."""
        ...


@dataclass(frozen=True)
class Tile:
    """Parameters of `Mosaic` for one image: its place on the canvas.

    Attributes:
        canvas: (H, W, C) of the mosaic, filled image by image.
        size: new (height, width) of the image.
        factor: new / old size.
        left, top: of the image on the canvas, in pixels; parts beyond the canvas are cut off.
    """

    canvas: np.ndarray
    size: Size
    factor: float
    left: int
    top: int


@TRANSFORMS.register_module()
class Mosaic(FieldTransform[Tile]):
    """Four images around a point of a canvas of twice their size. arXiv:2004.10934

    Each is transformed by itself onto the common canvas: scaled to fit into `img_scale`, with a corner at that point;
    parts beyond the canvas are cut off.

    Args:
        img_scale: (height, width) of each image.
        center_ratio_range: (low, high): the point is drawn between these multiples of `img_scale`.
        min_bbox_size: boxes must be wider and higher than this, in pixels, unless `skip_filter`.
        bbox_clip_border: clip boxes to the canvas.
        skip_filter: keep all boxes that overlap with the canvas.
        pad_val: colour of the canvas.
        prob: probability that it happens; otherwise the image stays as it is.
    """

    def __init__(
        self,
        img_scale: Sequence[int] = (640, 640),
        center_ratio_range: Sequence[float] = (0.5, 1.5),
        min_bbox_size: float = 0,
        bbox_clip_border: bool = True,
        skip_filter: bool = True,
        pad_val: float = 114,
        prob: float = 1.0,
    ) -> None:
        check_probability('Mosaic', prob=prob)
        if not 0 < center_ratio_range[0] <= center_ratio_range[1] < 2:
            raise InvalidValueError(
                f'Mosaic.center_ratio_range is (low, high) between 0 and 2, got {center_ratio_range}',
                key='center_ratio_range',
            )
        self.img_scale = _as_img_scale(img_scale, 'Mosaic')
        self.center_ratio_range = center_ratio_range
        self.min_bbox_size = min_bbox_size
        self.bbox_clip_border = bbox_clip_border
        self.skip_filter = skip_filter
        self.pad_val = pad_val
        self.prob = prob

    def get_indexes(self, dataset: ImageSource, rng: np.random.Generator | None = None) -> list[int]:
        """Three more images."""
        indices: list[int] = (rng or np.random.default_rng()).integers(len(dataset), size=3).tolist()
        return indices

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        rng = rng_of(sample)
        if rng.random() >= self.prob:
            return sample
        parts = [dict(part) for part in (sample, *_others(sample, 'Mosaic'))]
        for part, tile in zip(parts, self._draw_tiles(parts, rng)):
            self.apply(part, tile)
        sample['img'] = parts[0]['img']  # the canvas of all
        sample['img_shape'] = sample['pad_shape'] = sample['img'].shape
        _merge_objects(sample, parts)
        size = sample['img'].shape[:2]
        for key in bbox_fields(sample):
            if self.bbox_clip_border:
                sample[key] = clip_bboxes(sample[key], size)
            keep = overlaps_image(sample[key], size)
            if not self.skip_filter:
                keep &= is_larger(sample[key], self.min_bbox_size)
            keep_objects(sample, key, keep)
        return sample

    def _draw_tiles(self, parts: Sequence[dict[str, Any]], rng: np.random.Generator) -> list[Tile]:
        (height, width), (low, high) = self.img_scale, self.center_ratio_range
        x, y = int(rng.uniform(low, high) * width), int(rng.uniform(low, high) * height)
        canvas = _canvas(parts[0]['img'], (2 * height, 2 * width), self.pad_val)
        tiles = []
        for number, part in enumerate(parts):  # top left, top right, bottom left, bottom right
            size, factor = _fit(part['img'], self.img_scale)
            left, top = x - size[1] if number in (0, 2) else x, y - size[0] if number in (0, 1) else y
            tiles.append(Tile(canvas, size, factor, left, top))
        return tiles

    def apply_image(self, img: np.ndarray, params: Tile) -> np.ndarray:
        """Paste the image on the canvas."""
        img = cv2.resize(img, params.size[::-1], interpolation=cv2.INTER_LINEAR)
        x1, y1 = max(params.left, 0), max(params.top, 0)
        x2, y2 = params.left + img.shape[1], params.top + img.shape[0]
        target = params.canvas[y1:y2, x1:x2]  # ends at the edge of the canvas
        target[:] = img[y1 - params.top :, x1 - params.left :][: target.shape[0], : target.shape[1]]
        return params.canvas

    def apply_boxes(self, bboxes: np.ndarray, params: Tile) -> np.ndarray:
        return shift_bboxes(bboxes * np.float32(params.factor), params.left, params.top)


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
    """

    def __init__(
        self,
        img_scale: Sequence[int] = (640, 640),
        ratio_range: Sequence[float] = (0.5, 1.5),
        flip_ratio: float = 0.5,
        pad_val: float = 114,
        max_iters: int = 15,
        min_bbox_size: float = 5,
        min_area_ratio: float = 0.2,
        max_aspect_ratio: float = 20,
        bbox_clip_border: bool = True,
        skip_filter: bool = True,
    ) -> None:
        if not 0 < ratio_range[0] <= ratio_range[1]:
            raise InvalidValueError(f'MixUp.ratio_range is (low, high) above 0, got {ratio_range}', key='ratio_range')
        if max_iters < 1:
            raise InvalidValueError(f'MixUp.max_iters is at least 1, got {max_iters}', key='max_iters')
        self.img_scale = _as_img_scale(img_scale, 'MixUp')
        self.ratio_range = ratio_range
        self.flip_ratio = flip_ratio
        self.pad_val = pad_val
        self.max_iters = max_iters
        self.limits = (min_bbox_size, min_area_ratio, max_aspect_ratio)
        self.bbox_clip_border = bbox_clip_border
        self.skip_filter = skip_filter

    def get_indexes(self, dataset: ImageSource, rng: np.random.Generator | None = None) -> int:
        """An image with objects, if `max_iters` draws find one."""
        rng = rng or np.random.default_rng()
        for _ in range(self.max_iters):
            index = int(rng.integers(len(dataset)))
            if len(dataset.get_cat_ids(index)):
                break
        return index

    def draw(self, sample: dict[str, Any], rng: np.random.Generator) -> Overlay | None:
        other = _others(sample, 'MixUp')[0]
        if not len(other['gt_bboxes']):
            return None
        jitter = rng.uniform(self.ratio_range[0], self.ratio_range[1])
        flip = rng.random() > self.flip_ratio
        height, width = (max(int(edge * jitter), 1) for edge in self.img_scale)
        size = sample['img'].shape[:2]
        top, left = (int(rng.integers(max(have - want, 0) + 1)) for have, want in zip((height, width), size))
        _, factor = _fit(other['img'], self.img_scale)
        return Overlay(factor * jitter, (height, width), flip, left, top, size)

    def apply(self, sample: dict[str, Any], params: Overlay) -> dict[str, Any] | None:
        other = _others(sample, 'MixUp')[0]
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
        _merge_objects(sample, [sample, moved])
        return sample

    def apply_image(self, img: np.ndarray, params: Overlay) -> np.ndarray:
        size, _ = _fit(img, self.img_scale)
        canvas = _canvas(img, self.img_scale, self.pad_val)
        canvas[: size[0], : size[1]] = cv2.resize(img, size[::-1], interpolation=cv2.INTER_LINEAR)
        canvas = cv2.resize(canvas, params.canvas[::-1], interpolation=cv2.INTER_LINEAR)
        canvas = canvas[:, ::-1] if params.flip else canvas
        window = canvas[params.top :, params.left :][: params.size[0], : params.size[1]]
        patch = _canvas(img, params.size, self.pad_val)
        patch[: window.shape[0], : window.shape[1]] = window
        return patch

    def apply_boxes(self, bboxes: np.ndarray, params: Overlay) -> np.ndarray:
        bboxes = shift_bboxes(self._boxes_on_canvas(bboxes, params), -params.left, -params.top)
        return clip_bboxes(bboxes, params.size) if self.bbox_clip_border else bboxes

    def _boxes_on_canvas(self, bboxes: np.ndarray, params: Overlay) -> np.ndarray:
        scaled = bboxes * np.float32(params.factor)
        if self.bbox_clip_border:
            scaled = clip_bboxes(scaled, params.canvas)
        return flip_bboxes(scaled, params.canvas, 'horizontal') if params.flip else scaled


def _others(sample: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The samples to mix in."""
    if 'mix_results' not in sample:
        raise InvalidValueError(f'{name} needs more than one image: put it into the pipeline of a MultiImageMixDataset')
    return list(sample['mix_results'])


def _merge_objects(sample: dict[str, Any], parts: Sequence[dict[str, Any]]) -> None:
    """Give `sample` the boxes and labels of all parts."""
    fields = bbox_fields(sample)
    for key in fields:
        sample[key] = np.concatenate([part[key] for part in parts]).astype(np.float32)
    if 'gt_bboxes' in fields and 'gt_labels' in sample:
        sample['gt_labels'] = np.concatenate([part['gt_labels'] for part in parts])


def _fit(img: np.ndarray, size: Size) -> tuple[Size, float]:
    """The largest (height, width) that fits into `size` with the ratio of the image, and the factor."""
    height, width = img.shape[:2]
    factor = min(size[0] / height, size[1] / width)
    return (max(int(height * factor), 1), max(int(width * factor), 1)), factor


def _canvas(img: np.ndarray, size: Size, value: float) -> np.ndarray:
    """A canvas of one colour, with the channels and type of `img`."""
    return np.full((*size, *img.shape[2:]), value, dtype=img.dtype)


def _as_img_scale(img_scale: Sequence[int], name: str) -> Size:
    if len(img_scale) != 2 or min(img_scale) < 1:
        raise InvalidValueError(f'{name}.img_scale is (height, width) in pixels, got {img_scale!r}', key='img_scale')
    return int(img_scale[0]), int(img_scale[1])
