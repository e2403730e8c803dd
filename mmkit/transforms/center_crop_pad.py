"""Windows around a drawn point, on a canvas with that point in its middle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mmkit.errors import InvalidValueError
from mmkit.registry import TRANSFORMS
from mmkit.transforms.base import FieldTransform, bbox_fields, keep_objects
from mmkit.transforms.checks import Size, check_choice
from mmkit.transforms.coordinates import clip_bboxes, shift_bboxes, shift_map
from mmkit.transforms.cropping import Window, centred_inside


@dataclass(frozen=True)
class Centering:
    """Parameters of `RandomCenterCropPad`: the point (x, y) of the image that comes to the middle of a canvas.

    `canvas` is its (height, width); the image has the (height, width) `size`.
    """

    x: int
    y: int
    canvas: Size
    size: Size

    @property
    def shift(self) -> tuple[int, int]:
        """Pixels by which the image moves to the right and down."""
        return self.canvas[1] // 2 - self.x, self.canvas[0] // 2 - self.y

    @property
    def window(self) -> Window:
        """The part of the image that is on the canvas."""
        (left, top), (height, width) = self.shift, self.size
        x1, y1 = max(-left, 0), max(-top, 0)
        x2, y2 = min(self.canvas[1] - left, width), min(self.canvas[0] - top, height)
        return Window(x1, y1, x2 - x1, y2 - y1)


@TRANSFORMS.register_module()
class RandomCenterCropPad(FieldTransform[Centering]):
    """In training a window around a drawn point, in a test the whole image in the middle of a larger canvas.

    Objects with their centre outside of the window are dropped. arXiv:1808.01244, arXiv:1904.07850

    Args:
        crop_size: (height, width) of the canvas in training, before `ratios`.
        ratios: factors of the canvas, of which one is drawn.
        border: points are at least so far from the edges of the image, in pixels, or half as far where it is too small,
            and so on.
        mean: colour of the canvas.
        std: has no effect.
        to_rgb: `mean` is RGB although the image is still BGR.
        test_mode: pad instead of cropping.
        test_pad_mode: ('logical_or', n): edges are those of the image with all bits of n set, and
            `test_pad_add_pix` pixels more; ('size_divisor', n): the next multiples of n.
        test_pad_add_pix: see above.
        bbox_clip_border: clip boxes to the canvas.
    """

    changes_size = True
    NUM_TRIES = 500

    def __init__(
        self,
        crop_size: Sequence[int] | None = None,
        ratios: Sequence[float] | None = (0.9, 1.0, 1.1),
        border: int | None = 128,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        to_rgb: bool | None = None,
        test_mode: bool = False,
        test_pad_mode: Sequence[Any] | None = ('logical_or', 127),
        test_pad_add_pix: int = 0,
        bbox_clip_border: bool = True,
    ) -> None:
        if test_mode and test_pad_mode is None:
            raise InvalidValueError('RandomCenterCropPad(test_mode=True) needs test_pad_mode', key='test_pad_mode')
        if test_mode and test_pad_mode is not None:
            check_choice('test_pad_mode', test_pad_mode[0], ('logical_or', 'size_divisor'))
        if not test_mode and (crop_size is None or not ratios or border is None):
            message = 'RandomCenterCropPad needs crop_size, ratios and border in training'
            raise InvalidValueError(message, key='crop_size')
        self.crop_size = crop_size
        self.ratios = ratios
        self.border = border or 0
        self.mean = tuple(mean or (0, 0, 0))[:: -1 if to_rgb else 1]
        self.test_pad_mode = test_pad_mode if test_mode else None
        self.test_pad_add_pix = test_pad_add_pix
        self.bbox_clip_border = bbox_clip_border

    def draw(self, sample: dict[str, Any], rng: np.random.Generator) -> Centering:
        size = sample['img'].shape[:2]
        if self.test_pad_mode is not None:
            return Centering(size[1] // 2, size[0] // 2, (self._test_edge(size[0]), self._test_edge(size[1])), size)
        assert self.crop_size is not None and self.ratios is not None
        for _ in range(self.NUM_TRIES):
            ratio = self.ratios[int(rng.integers(len(self.ratios)))]
            canvas = int(self.crop_size[0] * ratio), int(self.crop_size[1] * ratio)
            x, y = (self._draw_point(edge, rng) for edge in size[::-1])
            params = Centering(x, y, canvas, size)
            bboxes = sample.get('gt_bboxes', np.zeros((0, 4)))
            if not len(bboxes) or centred_inside(params.window, bboxes).any():
                break
        return params

    def _draw_point(self, edge: int, rng: np.random.Generator) -> int:
        border = self.border
        while edge <= 2 * border:
            border //= 2
        return int(rng.integers(border, edge - border))

    def _test_edge(self, edge: int) -> int:
        assert self.test_pad_mode is not None
        mode, number = self.test_pad_mode[0], int(self.test_pad_mode[1])
        return (edge | number) + self.test_pad_add_pix if mode == 'logical_or' else -(-edge // number) * number

    def apply(self, sample: dict[str, Any], params: Centering) -> dict[str, Any] | None:
        if self.test_pad_mode is None:
            for key in bbox_fields(sample):
                keep_objects(sample, key, centred_inside(params.window, sample[key]))
        else:
            sample['border'] = params.shift
        return super().apply(sample, params)

    def apply_image(self, img: np.ndarray, params: Centering) -> np.ndarray:
        canvas = np.full((*params.canvas, *img.shape[2:]), self.mean, dtype=img.dtype)
        (left, top), window = params.shift, params.window
        replace(window, left=window.left + left, top=window.top + top).cut(canvas)[:] = window.cut(img)
        return canvas

    def apply_boxes(self, bboxes: np.ndarray, params: Centering) -> np.ndarray:
        bboxes = shift_bboxes(bboxes, *params.shift)
        return clip_bboxes(bboxes, params.canvas) if self.bbox_clip_border else bboxes

    def point_map(self, params: Centering) -> np.ndarray | None:
        return shift_map(*params.shift)
