"""Resizing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmkit.errors import InvalidValueError
from mmkit.registry import TRANSFORMS
from mmkit.structures import rescaled_size
from mmkit.transforms.base import FieldTransform, ObjectMasks
from mmkit.transforms.checks import Size, as_size, check_choice
from mmkit.transforms.coordinates import clip_bboxes
from mmkit.transforms.images import BACKENDS, INTERPOLATIONS, resize_image

Scale = tuple[int, int]


def as_scales(img_scale: object) -> list[Scale]:
    """One (long, short) or a list of them, as a list; JSON and YAML have lists where Python has tuples."""
    if isinstance(img_scale, (list, tuple)) and img_scale and not isinstance(img_scale[0], (list, tuple)):
        img_scale = [img_scale]
    if not isinstance(img_scale, (list, tuple)) or not img_scale or not all(_is_scale(scale) for scale in img_scale):
        raise InvalidValueError(
            f'img_scale is two numbers, or a list of such pairs, got {img_scale!r}', key='img_scale'
        )
    return [(scale[0], scale[1]) for scale in img_scale]


def _is_scale(scale: object) -> bool:
    return isinstance(scale, (list, tuple)) and len(scale) == 2 and all(isinstance(x, (int, float)) for x in scale)


def _two(factor: float | Sequence[float] | None) -> tuple[float, float] | None:
    """(of the width, of the height)."""
    if factor is None:
        return None
    return (factor, factor) if isinstance(factor, (int, float)) else (factor[0], factor[1])


@dataclass(frozen=True)
class Resizing:
    """Parameters of `Resize`.

    Attributes:
        scale: as it was asked for.
        size: new (height, width).
        factor: (4,) float32 (w, h, w, h), new / old.
    """

    scale: Scale
    size: Size
    factor: np.ndarray


@TRANSFORMS.register_module()
class Resize(FieldTransform[Resizing]):
    """Resizes to a drawn scale, or to the `scale` or `scale_factor` that a view of test-time augmentation asks for.

    A fixed size is given in mmclassification's words, `size` and `adaptive_side`: they exclude `img_scale` and what
    belongs to it (`multiscale_mode ratio_range keep_ratio override`), and scales in the sample are not read.

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
        override: resize to a drawn scale whatever a view asks for.
        size: (height, width), an edge for a square, or (edge, -1): `adaptive_side` gets that length.
        adaptive_side: 'short', 'long', 'height' or 'width'; the ratio of the edges stays.
        scale_factor: new / old size, or (of the width, of the height), in place of `img_scale`.
        round_down: with `keep_ratio`, edges that are no whole numbers are rounded down instead of to the nearest one.
    """

    changes_size = True

    def __init__(
        self,
        img_scale: Sequence[int] | Sequence[Sequence[int]] | None = None,
        multiscale_mode: str = 'range',
        ratio_range: Sequence[float] | None = None,
        keep_ratio: bool = True,
        bbox_clip_border: bool = True,
        backend: str = 'cv2',
        interpolation: str = 'bilinear',
        override: bool = False,
        size: int | Sequence[int] | None = None,
        adaptive_side: str = 'short',
        scale_factor: float | Sequence[float] | None = None,
        round_down: bool = False,
    ) -> None:
        check_choice('multiscale_mode', multiscale_mode, ('range', 'value'))
        check_choice('backend', backend, BACKENDS)
        check_choice('interpolation', interpolation, INTERPOLATIONS)
        check_choice('adaptive_side', adaptive_side, ('short', 'long', 'height', 'width'))
        self.size = None if size is None else as_size(size, allows_edge=True)
        has_scale = img_scale is not None or ratio_range is not None or multiscale_mode != 'range'
        if size is not None and (has_scale or scale_factor is not None or not keep_ratio or override or round_down):
            raise InvalidValueError(
                f'Resize: size={size!r} excludes img_scale, multiscale_mode, ratio_range, keep_ratio, override, '
                'scale_factor and round_down',
                key='size',
            )
        if scale_factor is not None and has_scale:
            raise InvalidValueError(f'Resize: scale_factor={scale_factor} excludes img_scale', key='scale_factor')
        if adaptive_side != 'short' and (self.size is None or self.size[1] != -1):
            raise InvalidValueError(
                f'Resize: adaptive_side={adaptive_side!r} needs size=(edge, -1), got {size!r}', key='adaptive_side'
            )
        self.img_scale = None if img_scale is None else as_scales(img_scale)
        if ratio_range is not None and (self.img_scale is None or len(self.img_scale) != 1):
            raise InvalidValueError(f'ratio_range needs exactly one img_scale, got {img_scale!r}', key='ratio_range')
        self.adaptive_side = adaptive_side
        self.multiscale_mode = multiscale_mode
        self.ratio_range = ratio_range
        self.keep_ratio = keep_ratio
        self.bbox_clip_border = bbox_clip_border
        self.backend = backend
        self.interpolation = interpolation
        self.override = override
        self.scale_factor = _two(scale_factor)
        self.round_down = round_down

    def draw(self, sample: dict[str, Any], rng: np.random.Generator) -> Resizing:
        height, width = sample['img'].shape[:2]
        if self.size is not None:
            size = self._fixed_size(height, width, self.size)
            scale = size[1], size[0]
        else:
            scale = self._scale_of(sample, rng)
            size = self._kept_ratio(height, width, scale) if self.keep_ratio else (int(scale[1]), int(scale[0]))
        return Resizing(scale, size, np.array([size[1] / width, size[0] / height] * 2, dtype=np.float32))

    def apply(self, sample: dict[str, Any], params: Resizing) -> dict[str, Any] | None:
        super().apply(sample, params)
        sample.update(scale=params.scale, scale_factor=params.factor, keep_ratio=self.keep_ratio)
        return sample

    def apply_image(self, img: np.ndarray, params: Resizing) -> np.ndarray:
        return resize_image(img, *params.size, self.interpolation, self.backend)

    def apply_boxes(self, bboxes: np.ndarray, params: Resizing) -> np.ndarray:
        bboxes = bboxes.copy()
        bboxes[:, :4] *= params.factor
        return clip_bboxes(bboxes, params.size) if self.bbox_clip_border else bboxes

    def apply_masks(self, masks: ObjectMasks, params: Resizing) -> ObjectMasks:
        return masks.resize(params.size)

    def apply_semantic(self, seg: np.ndarray, params: Resizing) -> np.ndarray:
        return resize_image(seg, *params.size, 'nearest', self.backend)

    def apply_keypoints(self, keypoints: np.ndarray, params: Resizing) -> np.ndarray:
        return keypoints * np.array([*params.factor[:2], 1], dtype=np.float32)

    def point_map(self, params: Resizing) -> np.ndarray | None:
        return np.diag([*params.factor[:2], 1])

    def _kept_ratio(self, height: int, width: int, scale: Scale) -> Size:
        if not self.round_down:
            return rescaled_size(height, width, scale)
        factor = min(max(scale) / max(height, width), min(scale) / min(height, width))
        return int(height * factor), int(width * factor)

    def _fixed_size(self, height: int, width: int, size: Size) -> Size:
        """(height, width) by `size`; the edge that follows from the ratio is rounded down."""
        if size[1] != -1:
            return size
        edge, side = size[0], self.adaptive_side
        if side == 'width' or (side == 'short' and width < height) or (side == 'long' and width > height):
            return max(int(edge * height / width), 1), edge
        return edge, max(int(edge * width / height), 1)

    def _scale_of(self, sample: dict[str, Any], rng: np.random.Generator) -> Scale:
        scale, factor = sample.get('scale'), sample.get('scale_factor')
        if isinstance(factor, np.ndarray) or self.override:  # of the Resize before this one
            scale = factor = None
        if factor is not None and scale is not None:
            raise InvalidValueError('a view asks for a scale or a scale_factor, not for both', key='scale_factor')
        if scale is not None:
            return scale[0], scale[1]
        height, width = sample['img'].shape[:2]
        if factor is not None:
            return int(width * factor), int(height * factor)
        if self.scale_factor is not None:
            return int(width * self.scale_factor[0] + 0.5), int(height * self.scale_factor[1] + 0.5)
        return self._draw_scale(rng)

    def _draw_scale(self, rng: np.random.Generator) -> Scale:
        if self.img_scale is None:
            raise InvalidValueError(
                'Resize has no img_scale, and the sample neither scale nor scale_factor', key='img_scale'
            )
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


@TRANSFORMS.register_module()
class SegRescale:
    """Shrinks the semantic map alone, to the size at which a model predicts it.

    Args:
        scale_factor: new / old size.
        backend: 'cv2' or 'pillow'.
    """

    def __init__(self, scale_factor: float = 1, backend: str = 'cv2') -> None:
        check_choice('backend', backend, BACKENDS)
        self.scale_factor = scale_factor
        self.backend = backend

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        for key in sample.get('seg_fields', []):
            height, width = sample[key].shape[:2]
            size = rescaled_size(height, width, self.scale_factor)
            sample[key] = resize_image(sample[key], *size, 'nearest', self.backend)
        return sample
