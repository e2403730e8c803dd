"""Windows of a fixed size, for classifiers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mmkit.errors import InvalidValueError
from mmkit.registry import TRANSFORMS
from mmkit.transforms.base import FieldTransform
from mmkit.transforms.checks import as_size, check_choice
from mmkit.transforms.cropping import Window
from mmkit.transforms.images import BACKENDS, INTERPOLATIONS, resize_image


@TRANSFORMS.register_module()
class RandomResizedCrop(FieldTransform[Window]):
    """Resizes a drawn window of an image without objects to a fixed size. arXiv:1409.4842

    Args:
        size: (height, width), or an edge for a square.
        scale: (low, high), share of the area that the window has.
        ratio: (low, high) of its width / height, drawn evenly on a logarithmic scale.
        max_attempts: draws until the window lies within the image; then the largest with an allowed ratio is taken
            from the centre.
        efficientnet_style, min_covered, crop_padding: EfficientNet's way to draw is not supported.
        interpolation: nearest, bilinear, bicubic, area, lanczos.
        backend: 'cv2' or 'pillow'.
    """

    changes_size = True

    def __init__(
        self,
        size: int | Sequence[int],
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3.0 / 4.0, 4.0 / 3.0),
        max_attempts: int = 10,
        efficientnet_style: bool = False,
        min_covered: float = 0.1,
        crop_padding: int = 32,
        interpolation: str = 'bilinear',
        backend: str = 'cv2',
    ) -> None:
        if efficientnet_style or (min_covered, crop_padding) != (0.1, 32):
            raise InvalidValueError(
                'RandomResizedCrop: efficientnet_style, min_covered and crop_padding are not supported',
                key='efficientnet_style',
            )
        check_choice('interpolation', interpolation, INTERPOLATIONS)
        check_choice('backend', backend, BACKENDS)
        if not 0 < scale[0] <= scale[1] <= 1:
            raise InvalidValueError(f'RandomResizedCrop.scale is (low, high) in 0..1, got {scale}', key='scale')
        if not 0 < ratio[0] <= ratio[1]:
            raise InvalidValueError(f'RandomResizedCrop.ratio is (low, high) above 0, got {ratio}', key='ratio')
        self.size = as_size(size)
        self.scale = scale
        self.ratio = ratio
        self.max_attempts = max_attempts
        self.interpolation = interpolation
        self.backend = backend

    def draw(self, sample: dict[str, Any], rng: np.random.Generator) -> Window:
        img_height, img_width = sample['img'].shape[:2]
        for _ in range(self.max_attempts):
            area = rng.uniform(self.scale[0], self.scale[1]) * img_height * img_width
            ratio = math.exp(rng.uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))
            width, height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < width <= img_width and 0 < height <= img_height:
                top, left = int(rng.integers(img_height - height + 1)), int(rng.integers(img_width - width + 1))
                return Window(left, top, width, height)
        width = min(img_width, max(round(img_height * self.ratio[1]), 1))
        height = min(img_height, max(round(img_width / self.ratio[0]), 1))
        return Window((img_width - width) // 2, (img_height - height) // 2, width, height)

    def apply_image(self, img: np.ndarray, params: Window) -> np.ndarray:
        return resize_image(params.cut(img), *self.size, self.interpolation, self.backend)


@TRANSFORMS.register_module()
class CenterCrop(FieldTransform[Window]):
    """Cuts out the middle of an image without objects; of a smaller image, all there is.

    Args:
        crop_size: (height, width) of the window, or an edge for a square.
        efficientnet_style, crop_padding, interpolation, backend: EfficientNet's way, which also resizes, is not
            supported.
    """

    changes_size = True

    def __init__(
        self,
        crop_size: int | Sequence[int],
        efficientnet_style: bool = False,
        crop_padding: int = 32,
        interpolation: str = 'bilinear',
        backend: str = 'cv2',
    ) -> None:
        if efficientnet_style or (crop_padding, interpolation, backend) != (32, 'bilinear', 'cv2'):
            raise InvalidValueError(
                'CenterCrop: efficientnet_style, and crop_padding, interpolation and backend, which belong to it, '
                'are not supported',
                key='efficientnet_style',
            )
        self.crop_size = as_size(crop_size, 'crop_size')

    def draw(self, sample: dict[str, Any], rng: np.random.Generator) -> Window:
        img_height, img_width = sample['img'].shape[:2]
        height, width = min(self.crop_size[0], img_height), min(self.crop_size[1], img_width)
        return Window(round((img_width - width) / 2), round((img_height - height) / 2), width, height)

    def apply_image(self, img: np.ndarray, params: Window) -> np.ndarray:
        return params.cut(img)
