"""Images made of several images; the dataset brings the others in `sample['mix_results']`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np

from mmkit.errors import InvalidValueError
from mmkit.registry import TRANSFORMS
from mmkit.transforms.base import FieldTransform, ObjectMasks, bbox_fields, keep_objects
from mmkit.transforms.checks import Size, check_probability
from mmkit.transforms.coordinates import (
    clip_bboxes,
    is_larger,
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
        self.img_scale = as_img_scale(img_scale, 'Mosaic')
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
        parts = [dict(part) for part in (sample, *others_of(sample, 'Mosaic'))]
        for part, tile in zip(parts, self._draw_tiles(parts, rng)):
            self.apply(part, tile)
        sample['img'] = parts[0]['img']  # the canvas of all
        sample['img_shape'] = sample['pad_shape'] = sample['img'].shape
        merge_objects(sample, parts)
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
        canvas = blank(parts[0]['img'], (2 * height, 2 * width), self.pad_val)
        tiles = []
        for number, part in enumerate(parts):  # top left, top right, bottom left, bottom right
            size, factor = fitted(part['img'].shape, self.img_scale)
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

    def apply_masks(self, masks: ObjectMasks, params: Tile) -> ObjectMasks:
        height, width = params.canvas.shape[:2]
        return placed(masks.resize(params.size), (height, width), params.left, params.top)


# As `CachedMixUp` of mixup.py: mmkit has no cache.
TRANSFORMS.register_module('CachedMosaic', module=Mosaic)


def others_of(sample: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The samples to mix in."""
    if 'mix_results' not in sample:
        raise InvalidValueError(f'{name} needs more than one image: put it into the pipeline of a dataset')
    return list(sample['mix_results'])


def merge_objects(sample: dict[str, Any], parts: Sequence[dict[str, Any]]) -> None:
    """Give `sample` the boxes, labels and masks of all parts."""
    fields = bbox_fields(sample)
    for key in fields:
        sample[key] = np.concatenate([part[key] for part in parts]).astype(np.float32)
    if 'gt_bboxes' in fields and 'gt_labels' in sample:
        sample['gt_labels'] = np.concatenate([part['gt_labels'] for part in parts])
    for key in sample.get('mask_fields', ()):
        sample[key] = type(sample[key]).cat([part[key] for part in parts])


def placed(masks: ObjectMasks, canvas: Size, left: int, top: int) -> ObjectMasks:
    """Masks at (left, top) of a canvas of (height, width); parts beyond it are cut off."""
    right, bottom = min(masks.width, canvas[1] - left), min(masks.height, canvas[0] - top)
    inside = masks.crop([max(-left, 0), max(-top, 0), right, bottom])
    return inside.expand(canvas[0], canvas[1], max(top, 0), max(left, 0))


def fitted(shape: Sequence[int], size: Size) -> tuple[Size, float]:
    """The largest (height, width) that fits into `size` with the ratio of an image of `shape`, and the factor."""
    height, width = shape[:2]
    factor = min(size[0] / height, size[1] / width)
    return (max(int(height * factor), 1), max(int(width * factor), 1)), factor


def blank(img: np.ndarray, size: Size, value: float | Sequence[float]) -> np.ndarray:
    """A canvas of one colour, with the channels and type of `img`."""
    return np.full((*size, *img.shape[2:]), value, dtype=img.dtype)


def as_img_scale(img_scale: Sequence[int], name: str) -> Size:
    """(height, width) in pixels; raises an InvalidValueError for anything else."""
    if len(img_scale) != 2 or min(img_scale) < 1:
        raise InvalidValueError(f'{name}.img_scale is (height, width) in pixels, got {img_scale!r}', key='img_scale')
    return int(img_scale[0]), int(img_scale[1])
