"""Images made of several images; `MultiImageMixDataset` brings the others in `sample['mix_results']`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from mmkit.registry import PIPELINES
from mmkit.transforms.cropping import keep_objects
from mmkit.transforms.randomness import rng_of
from mmkit.transforms.strength import check_probability

Size = tuple[int, int]


def others(sample: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The samples to mix in."""
    if 'mix_results' not in sample:
        raise ValueError(f'{name} needs more than one image: put it into the pipeline of a MultiImageMixDataset')
    return list(sample['mix_results'])


def bbox_fields(sample: dict[str, Any]) -> list[str]:
    """The names of what has boxes; a sample that a script made may not list them."""
    return list(sample.get('bbox_fields') or [key for key in ('gt_bboxes', 'gt_bboxes_ignore') if key in sample])


def refuse_pixel_fields(sample: dict[str, Any], name: str) -> None:
    """Transforms of images and boxes alone must not leave masks or maps behind where they were."""
    fields = [*sample.get('mask_fields', []), *sample.get('seg_fields', [])]
    if fields:
        raise ValueError(f'{name} moves images and boxes only, the sample has {", ".join(fields)}: leave them unloaded')


def clip_bboxes(bboxes: np.ndarray, size: Size) -> np.ndarray:
    """(N, 4) inside an image of `size` (height, width)."""
    return bboxes.clip(0, np.array([size[1], size[0]] * 2, dtype=bboxes.dtype))


def inside(bboxes: np.ndarray, size: Size) -> np.ndarray:
    """(N,) bool: which boxes overlap with an image of `size` (height, width)."""
    overlaps: np.ndarray = np.all((bboxes[:, :2] < (size[1], size[0])) & (bboxes[:, 2:4] > 0), axis=1)
    return overlaps


def still_useful(
    before: np.ndarray, after: np.ndarray, min_bbox_size: float, min_area_ratio: float, max_aspect_ratio: float
) -> np.ndarray:
    """(N,) bool: which boxes `after` are large enough, not too long, and enough of those `before`; both (N, 4)."""
    old, new = before[:, 2:4] - before[:, :2], after[:, 2:4] - after[:, :2]
    aspect = np.maximum(new[:, 0] / (new[:, 1] + 1e-16), new[:, 1] / (new[:, 0] + 1e-16))
    share = new.prod(axis=1) / (old.prod(axis=1) + 1e-16)
    keep: np.ndarray = np.all(new > min_bbox_size, axis=1)
    return keep & (share > min_area_ratio) & (aspect < max_aspect_ratio)


def fit(img: np.ndarray, size: Size) -> tuple[np.ndarray, float]:
    """The image as large as fits into `size` (height, width), and the factor."""
    height, width = img.shape[:2]
    factor = min(size[0] / height, size[1] / width)
    new_size = max(int(width * factor), 1), max(int(height * factor), 1)
    return cv2.resize(img, new_size, interpolation=cv2.INTER_LINEAR), factor


def filled(img: np.ndarray, height: int, width: int, value: float) -> np.ndarray:
    """A canvas of one colour, with the channels and type of `img`."""
    return np.full((height, width, *img.shape[2:]), value, dtype=img.dtype)


def as_size(img_scale: Sequence[int], name: str) -> Size:
    if len(img_scale) != 2 or min(img_scale) < 1:
        raise ValueError(f'{name}.img_scale is (height, width) in pixels, got {img_scale!r}')
    return int(img_scale[0]), int(img_scale[1])


@PIPELINES.register_module()
class Mosaic:
    """Four images around a point of a canvas of twice their size. arXiv:2004.10934

    Each is scaled to fit into `img_scale` and lies with a corner at that point; what sticks out is cut off.

    Args:
        img_scale: (height, width) of each image.
        center_ratio_range: (low, high): the point is drawn between these multiples of `img_scale`.
        min_bbox_size: boxes must be wider and higher than this, in pixels, unless `skip_filter`.
        bbox_clip_border: clip boxes to the canvas.
        skip_filter: keep all boxes that overlap with the canvas.
        pad_val: colour of the canvas.
        prob: how often; otherwise the image stays as it is.
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
            raise ValueError(f'Mosaic.center_ratio_range is (low, high) between 0 and 2, got {center_ratio_range}')
        self.img_scale = as_size(img_scale, 'Mosaic')
        self.center_ratio_range = center_ratio_range
        self.min_bbox_size = min_bbox_size
        self.bbox_clip_border = bbox_clip_border
        self.skip_filter = skip_filter
        self.pad_val = pad_val
        self.prob = prob

    def get_indexes(self, dataset: Any, rng: np.random.Generator | None = None) -> list[int]:
        """Three more images."""
        return (rng or np.random.default_rng()).integers(len(dataset), size=3).tolist()

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        rng = rng_of(sample)
        if rng.random() >= self.prob:
            return sample
        parts = [sample, *others(sample, 'Mosaic')]
        for part in parts:
            refuse_pixel_fields(part, 'Mosaic')
        height, width = self.img_scale
        low, high = self.center_ratio_range
        center = int(rng.uniform(low, high) * width), int(rng.uniform(low, high) * height)
        size = 2 * height, 2 * width
        canvas = filled(sample['img'], *size, self.pad_val)
        placed = [self._place(canvas, part['img'], center, corner) for corner, part in enumerate(parts)]
        for key in bbox_fields(sample):
            moved = [part[key] * factor + shift for part, (factor, shift) in zip(parts, placed)]
            sample[key] = np.concatenate(moved).astype(np.float32)
        if 'gt_labels' in sample:
            sample['gt_labels'] = np.concatenate([part['gt_labels'] for part in parts])
        sample['img'] = canvas
        sample['img_shape'] = sample['pad_shape'] = canvas.shape
        for key in bbox_fields(sample):
            self._tidy(sample, key, size)
        return sample

    def _place(
        self, canvas: np.ndarray, img: np.ndarray, center: tuple[int, int], corner: int
    ) -> tuple[float, np.ndarray]:
        """Paste an image at the top left (0), top right (1), bottom left (2) or bottom right (3) of the centre.

        Returns:
            Factor and shift (4,) of its boxes.
        """
        img, factor = fit(img, self.img_scale)
        left = center[0] - img.shape[1] if corner in (0, 2) else center[0]
        top = center[1] - img.shape[0] if corner in (0, 1) else center[1]
        x1, y1 = max(left, 0), max(top, 0)
        x2, y2 = min(left + img.shape[1], canvas.shape[1]), min(top + img.shape[0], canvas.shape[0])
        canvas[y1:y2, x1:x2] = img[y1 - top : y2 - top, x1 - left : x2 - left]
        return factor, np.array([left, top, left, top], dtype=np.float32)

    def _tidy(self, sample: dict[str, Any], key: str, size: Size) -> None:
        if self.bbox_clip_border:
            sample[key] = clip_bboxes(sample[key], size)
        keep = inside(sample[key], size)
        if not self.skip_filter:
            keep &= ((sample[key][:, 2:4] - sample[key][:, :2]) > self.min_bbox_size).all(axis=1)
        keep_objects(sample, key, keep)


@PIPELINES.register_module()
class MixUp:
    """The mean of the image and of another one, scaled, mirrored and cut at random, with the boxes of both.

    As in YOLOX (arXiv:2107.08430), after arXiv:1710.09412.

    Args:
        img_scale: (height, width) into which the other image is fitted first.
        ratio_range: (low, high) of the factor by which it is scaled then.
        flip_ratio: it is mirrored where a number drawn between 0 and 1 is larger, that is, with probability
            1 - flip_ratio. (The name promises the opposite; mmdetection does this.)
        pad_val: colour around it.
        max_iters: how often to draw another image until it has objects.
        min_bbox_size: in pixels, min_area_ratio: of what a cut left of a box, max_aspect_ratio: of its edges: which
            boxes of the other image are kept, unless `skip_filter`.
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
            raise ValueError(f'MixUp.ratio_range is (low, high) above 0, got {ratio_range}')
        self.img_scale = as_size(img_scale, 'MixUp')
        self.ratio_range = ratio_range
        self.flip_ratio = flip_ratio
        self.pad_val = pad_val
        if max_iters < 1:
            raise ValueError(f'MixUp.max_iters is at least 1, got {max_iters}')
        self.max_iters = max_iters
        self.limits = (min_bbox_size, min_area_ratio, max_aspect_ratio)
        self.bbox_clip_border = bbox_clip_border
        self.skip_filter = skip_filter

    def get_indexes(self, dataset: Any, rng: np.random.Generator | None = None) -> int:
        """An image with objects, if `max_iters` draws find one."""
        rng = rng or np.random.default_rng()
        for _ in range(self.max_iters):
            index = int(rng.integers(len(dataset)))
            if len(dataset.get_cat_ids(index)):
                break
        return index

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        other = others(sample, 'MixUp')[0]
        if not len(other['gt_bboxes']):
            return sample
        for part in (sample, other):
            refuse_pixel_fields(part, 'MixUp')
        rng = rng_of(sample)
        jitter = rng.uniform(self.ratio_range[0], self.ratio_range[1])
        flip = rng.random() > self.flip_ratio
        img, factor = self._scaled(other['img'], jitter, flip)
        size: Size = sample['img'].shape[:2]
        top, left = (int(rng.integers(max(have - want, 0) + 1)) for have, want in zip(img.shape, size))
        window = img[top : top + size[0], left : left + size[1]]
        patch = filled(img, *size, self.pad_val)
        patch[: window.shape[0], : window.shape[1]] = window
        sample['img'] = cv2.addWeighted(sample['img'].astype(np.float32), 0.5, patch.astype(np.float32), 0.5, 0)
        sample['img'] = sample['img'].astype(np.uint8)
        sample['img_shape'] = sample['pad_shape'] = sample['img'].shape
        shift = np.array([left, top, left, top], dtype=np.float32)
        for key in bbox_fields(sample):
            self._add_bboxes(sample, other, key, (factor, flip, shift), img.shape[:2])
        return sample

    def _scaled(self, img: np.ndarray, jitter: float, flip: bool) -> tuple[np.ndarray, float]:
        """The other image on its canvas, scaled and mirrored, and the factor of its boxes."""
        img, factor = fit(img, self.img_scale)
        canvas = filled(img, *self.img_scale, self.pad_val)
        canvas[: img.shape[0], : img.shape[1]] = img
        height, width = (max(int(edge * jitter), 1) for edge in self.img_scale)
        canvas = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_LINEAR)
        return (canvas[:, ::-1] if flip else canvas), factor * jitter

    def _add_bboxes(
        self,
        sample: dict[str, Any],
        other: dict[str, Any],
        key: str,
        moved: tuple[float, bool, np.ndarray],
        canvas_size: Size,
    ) -> None:
        factor, flip, shift = moved
        size: Size = sample['img'].shape[:2]
        scaled = other[key] * np.float32(factor)
        if self.bbox_clip_border:
            scaled = clip_bboxes(scaled, canvas_size)
        if flip:
            scaled[:, [0, 2]] = canvas_size[1] - scaled[:, [2, 0]]
        bboxes = scaled - shift
        if self.bbox_clip_border:
            bboxes = clip_bboxes(bboxes, size)
        keep = inside(bboxes, size)
        if not self.skip_filter:
            keep &= still_useful(scaled, bboxes, *self.limits)
        sample[key] = np.concatenate([sample[key], bboxes[keep]]).astype(np.float32)
        if key == 'gt_bboxes' and 'gt_labels' in sample:
            sample['gt_labels'] = np.concatenate([sample['gt_labels'], other['gt_labels'][keep]])
