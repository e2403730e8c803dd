"""Resizing, mirroring and padding of image, boxes, masks and semantic map alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmkit.registry import PIPELINES
from mmkit.structures import rescaled_size
from mmkit.structures.masks_base import DIRECTIONS
from mmkit.transforms.images import INTERPOLATIONS, as_size, check_choice, pad_image, resize_image
from mmkit.transforms.randomness import rng_of

Scale = tuple[int, int]


def as_scales(img_scale: Any) -> list[Scale]:
    """One (long, short) or a list of them, as a list; JSON and YAML have lists where Python has tuples."""
    if isinstance(img_scale, (list, tuple)) and img_scale and not isinstance(img_scale[0], (list, tuple)):
        img_scale = [img_scale]
    if not isinstance(img_scale, (list, tuple)) or not img_scale or any(len(scale) != 2 for scale in img_scale):
        raise ValueError(f'img_scale is two numbers, or a list of such pairs, got {img_scale!r}')
    return [(scale[0], scale[1]) for scale in img_scale]


@PIPELINES.register_module()
class Resize:
    """Resizes to `sample['scale']` or `sample['scale_factor']` if one of them is there, else to a drawn scale.

    mmclassification says a fixed size in other words, `size` and `adaptive_side`: they exclude `img_scale` and what
    belongs to it (`multiscale_mode ratio_range keep_ratio override`), and what the sample says doesn't matter.

    Sets `scale`, `scale_factor` (4,) float32 (w, h, w, h), `img_shape`, `pad_shape`, `keep_ratio`.

    Args:
        img_scale: (long, short), or a list of such pairs.
        multiscale_mode: several scales: 'value' draws one of them, 'range' draws each edge between the smallest and the
            largest.
        ratio_range: (low, high), a drawn factor for the only `img_scale`.
        keep_ratio: fit into the scale; otherwise the scale is the new (width, height).
        bbox_clip_border: clip boxes to the image.
        backend: 'cv2' or 'pillow'.
        interpolation: nearest, bilinear, bicubic, area, lanczos.
        override: resize a second time, to a new scale.
        size: (height, width), an edge for a square, or (edge, -1): `adaptive_side` gets that length.
        adaptive_side: 'short', 'long', 'height' or 'width'; the ratio of the edges stays.
    """

    def __init__(
        self,
        img_scale: Any = None,
        multiscale_mode: str = 'range',
        ratio_range: Sequence[float] | None = None,
        keep_ratio: bool = True,
        bbox_clip_border: bool = True,
        backend: str = 'cv2',
        interpolation: str = 'bilinear',
        override: bool = False,
        size: int | Sequence[int] | None = None,
        adaptive_side: str = 'short',
    ) -> None:
        check_choice('multiscale_mode', multiscale_mode, ('range', 'value'))
        check_choice('backend', backend, ('cv2', 'pillow'))
        check_choice('interpolation', interpolation, tuple(INTERPOLATIONS))
        self.size = None if size is None else as_size(size, open_end=True)
        check_choice('adaptive_side', adaptive_side, ('short', 'long', 'height', 'width'))
        scaled = img_scale is not None or ratio_range is not None or multiscale_mode != 'range'
        if size is not None and (scaled or not keep_ratio or override):
            raise ValueError(f'Resize: size={size!r} says it all; img_scale and what belongs to it say it another way')
        if adaptive_side != 'short' and (self.size is None or self.size[1] != -1):
            raise ValueError(f'Resize: adaptive_side={adaptive_side!r} needs size=(edge, -1), got {size!r}')
        self.adaptive_side = adaptive_side
        self.img_scale = None if img_scale is None else as_scales(img_scale)
        if ratio_range is not None and (self.img_scale is None or len(self.img_scale) != 1):
            raise ValueError(f'ratio_range needs exactly one img_scale, got {img_scale!r}')
        self.multiscale_mode = multiscale_mode
        self.ratio_range = ratio_range
        self.keep_ratio = keep_ratio
        self.bbox_clip_border = bbox_clip_border
        self.backend = backend
        self.interpolation = interpolation
        self.override = override

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        height, width = sample['img'].shape[:2]
        if self.size is not None:
            new = self._fixed(height, width, self.size)
            scale = new[1], new[0]
        else:
            scale = self._choose(sample)
            new = rescaled_size(height, width, scale) if self.keep_ratio else (int(scale[1]), int(scale[0]))
        img = resize_image(sample['img'], *new, self.interpolation, self.backend)
        factor = np.array([new[1] / width, new[0] / height] * 2, dtype=np.float32)
        sample.update(img=img, img_shape=img.shape, pad_shape=img.shape)
        sample.update(scale=scale, scale_factor=factor, keep_ratio=self.keep_ratio)
        for key in sample.get('bbox_fields', []):
            sample[key] = self._resize_bboxes(sample[key], factor, new)
        for key in sample.get('mask_fields', []):
            sample[key] = sample[key].resize(new)
        for key in sample.get('seg_fields', []):
            sample[key] = resize_image(sample[key], *new, 'nearest', self.backend)
        return sample

    def _resize_bboxes(self, bboxes: np.ndarray, factor: np.ndarray, new: tuple[int, int]) -> np.ndarray:
        bboxes = bboxes.copy()
        bboxes[:, :4] *= factor
        if self.bbox_clip_border:
            bboxes[:, 0:4:2] = bboxes[:, 0:4:2].clip(0, new[1])
            bboxes[:, 1:4:2] = bboxes[:, 1:4:2].clip(0, new[0])
        return bboxes

    def _fixed(self, height: int, width: int, size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) by `size`; what follows from the ratio is rounded down."""
        if size[1] != -1:
            return size
        edge, side = size[0], self.adaptive_side
        if side == 'width' or (side == 'short' and width < height) or (side == 'long' and width > height):
            return max(int(edge * height / width), 1), edge
        return edge, max(int(edge * width / height), 1)

    def _choose(self, sample: dict[str, Any]) -> Scale:
        if self.override:
            sample.pop('scale', None)
            sample.pop('scale_factor', None)
        if 'scale' in sample:
            if 'scale_factor' in sample:
                raise ValueError('the image has been resized already: a second Resize needs override=True')
            return sample['scale']
        if 'scale_factor' in sample:
            factor = sample['scale_factor']
            if not isinstance(factor, (int, float)):
                raise ValueError('the image has been resized already: a second Resize needs override=True')
            height, width = sample['img'].shape[:2]
            return int(width * factor), int(height * factor)
        return self._draw(rng_of(sample))

    def _draw(self, rng: np.random.Generator) -> Scale:
        if self.img_scale is None:
            raise ValueError('Resize has no img_scale, and the sample neither scale nor scale_factor')
        if self.ratio_range is not None:
            ratio = rng.uniform(self.ratio_range[0], self.ratio_range[1])
            return int(self.img_scale[0][0] * ratio), int(self.img_scale[0][1] * ratio)
        if len(self.img_scale) == 1:
            return self.img_scale[0]
        if self.multiscale_mode == 'value':
            return self.img_scale[rng.integers(len(self.img_scale))]
        longs, shorts = [max(scale) for scale in self.img_scale], [min(scale) for scale in self.img_scale]
        long, short = rng.integers(min(longs), max(longs) + 1), rng.integers(min(shorts), max(shorts) + 1)
        return int(long), int(short)


@PIPELINES.register_module()
class RandomFlip:
    """Mirrors as `sample['flip']` and `sample['flip_direction']` say if they are there, else by chance.

    Args:
        flip_ratio: probability of a flip, divided evenly among the directions, or one for each direction; None is 0.
        direction: 'horizontal', 'vertical', 'diagonal' (both), or a list of them.
        flip_prob: mmclassification's name of `flip_ratio`. (Its default is 0.5: write it.)
    """

    def __init__(
        self,
        flip_ratio: float | Sequence[float] | None = None,
        direction: str | Sequence[str] = 'horizontal',
        flip_prob: float | Sequence[float] | None = None,
    ) -> None:
        if flip_ratio is not None and flip_prob is not None:
            raise ValueError(f'RandomFlip: flip_ratio={flip_ratio} and flip_prob={flip_prob} are the same: give one')
        flip_ratio = flip_prob if flip_ratio is None else flip_ratio
        directions = [direction] if isinstance(direction, str) else list(direction)
        for name in directions:
            check_choice('direction', name, DIRECTIONS)
        if isinstance(flip_ratio, (int, float)):
            ratios = [flip_ratio / len(directions)] * len(directions)
        else:
            ratios = [0.0] * len(directions) if flip_ratio is None else list(flip_ratio)
        if len(ratios) != len(directions):
            raise ValueError(f'{len(ratios)} flip ratios for {len(directions)} directions')
        if min(ratios) < 0 or sum(ratios) > 1 + 1e-9:
            raise ValueError(f'flip_ratio must be probabilities of at most 1 in all, got {flip_ratio}')
        self.ratios = ratios
        self.directions = directions

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        if 'flip' not in sample:
            sample['flip_direction'] = self._draw(rng_of(sample))
            sample['flip'] = sample['flip_direction'] is not None
        if not sample['flip']:
            sample.setdefault('flip_direction', None)
            return sample
        direction = sample.setdefault('flip_direction', self.directions[0])
        shape = sample['img'].shape[:2]
        sample['img'] = flip_image(sample['img'], direction)
        for key in sample.get('bbox_fields', []):
            sample[key] = flip_bboxes(sample[key], shape, direction)
        for key in sample.get('mask_fields', []):
            sample[key] = sample[key].flip(direction)
        for key in sample.get('seg_fields', []):
            sample[key] = flip_image(sample[key], direction)
        return sample

    def _draw(self, rng: np.random.Generator) -> str | None:
        number = int(np.searchsorted(np.cumsum(self.ratios), rng.random(), side='right'))
        return self.directions[number] if number < len(self.directions) else None


def flip_image(img: np.ndarray, direction: str) -> np.ndarray:
    axes: dict[str, int | tuple[int, int]] = {'horizontal': 1, 'vertical': 0, 'diagonal': (0, 1)}
    return np.ascontiguousarray(np.flip(img, axes[direction]))


def flip_bboxes(bboxes: np.ndarray, shape: Sequence[int], direction: str) -> np.ndarray:
    """(N, 4 or 5) in an image of `shape` (height, width)."""
    flipped = bboxes.copy()
    if direction != 'vertical':
        flipped[:, [0, 2]] = shape[1] - bboxes[:, [2, 0]]
    if direction != 'horizontal':
        flipped[:, [1, 3]] = shape[0] - bboxes[:, [3, 1]]
    return flipped


@PIPELINES.register_module()
class Pad:
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
            raise ValueError(
                'Pad needs exactly one of size, size_divisor and pad_to_square, got '
                f'size={size}, size_divisor={size_divisor}, pad_to_square={pad_to_square}'
            )
        if isinstance(pad_val, (int, float)):
            pad_val = dict(img=pad_val, masks=pad_val)
        self.pad_val: dict[str, Any] = {'img': 0, 'masks': 0, 'seg': 255, **(pad_val or {})}
        if len(self.pad_val) > 3:
            raise ValueError(f'pad_val has values for img, masks and seg, got {sorted(self.pad_val)}')
        self.size = size
        self.size_divisor = size_divisor
        self.pad_to_square = pad_to_square

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        height, width = self._padded(*sample['img'].shape[:2])
        sample['img'] = pad_image(sample['img'], height, width, self.pad_val['img'])
        sample['pad_shape'] = sample['img'].shape
        sample['pad_fixed_size'] = self.size
        sample['pad_size_divisor'] = self.size_divisor
        for key in sample.get('mask_fields', []):
            sample[key] = sample[key].pad((height, width), pad_val=int(self.pad_val['masks']))
        for key in sample.get('seg_fields', []):
            sample[key] = pad_image(sample[key], height, width, self.pad_val['seg'])
        return sample

    def _padded(self, height: int, width: int) -> tuple[int, int]:
        if self.size is not None:
            return int(self.size[0]), int(self.size[1])
        if self.size_divisor is not None:
            step = self.size_divisor
            return -(-height // step) * step, -(-width // step) * step
        return max(height, width), max(height, width)


@PIPELINES.register_module()
class SegRescale:
    """Shrinks the semantic map alone, to the size at which a model predicts it.

    Args:
        scale_factor: new / old size.
        backend: 'cv2' or 'pillow'.
    """

    def __init__(self, scale_factor: float = 1, backend: str = 'cv2') -> None:
        check_choice('backend', backend, ('cv2', 'pillow'))
        self.scale_factor = scale_factor
        self.backend = backend

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        for key in sample.get('seg_fields', []):
            height, width = sample[key].shape[:2]
            size = rescaled_size(height, width, self.scale_factor)
            sample[key] = resize_image(sample[key], *size, 'nearest', self.backend)
        return sample
