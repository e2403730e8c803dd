"""Windows of a fixed size, for classifiers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mmkit.registry import PIPELINES
from mmkit.transforms.cropping import crop, refuse_objects
from mmkit.transforms.images import INTERPOLATIONS, as_size, check_choice, resize_image
from mmkit.transforms.randomness import rng_of


@PIPELINES.register_module()
class RandomResizedCrop:
    """Resizes a drawn window of the image to a fixed size. arXiv:1409.4842

    Only the image is changed: a sample with boxes is refused.

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
            raise ValueError('RandomResizedCrop: efficientnet_style, min_covered and crop_padding are not supported')
        check_choice('interpolation', interpolation, tuple(INTERPOLATIONS))
        check_choice('backend', backend, ('cv2', 'pillow'))
        if not 0 < scale[0] <= scale[1] <= 1 or not 0 < ratio[0] <= ratio[1]:
            raise ValueError(f'RandomResizedCrop: scale={scale} and ratio={ratio} are (low, high), shares up to 1')
        self.size = as_size(size)
        self.scale = scale
        self.ratio = ratio
        self.max_attempts = max_attempts
        self.interpolation = interpolation
        self.backend = backend

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        refuse_objects(self, sample)
        height, width = sample['img'].shape[:2]
        top, left, high, wide = self._window(height, width, rng_of(sample))
        img = sample['img'][top : top + high, left : left + wide]
        sample['img'] = resize_image(img, *self.size, self.interpolation, self.backend)
        sample['img_shape'] = sample['pad_shape'] = sample['img'].shape
        return sample

    def _window(self, height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
        """top, left, height, width."""
        for _ in range(self.max_attempts):
            area = rng.uniform(self.scale[0], self.scale[1]) * height * width
            ratio = math.exp(rng.uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))
            wide, high = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < wide <= width and 0 < high <= height:
                return int(rng.integers(height - high + 1)), int(rng.integers(width - wide + 1)), high, wide
        wide = min(width, max(round(height * self.ratio[1]), 1))
        high = min(height, max(round(width / self.ratio[0]), 1))
        return (height - high) // 2, (width - wide) // 2, high, wide


@PIPELINES.register_module()
class CenterCrop:
    """Cuts out the middle; of a smaller image, all there is.

    Args:
        crop_size: (height, width) of the window, or an edge for a square.
        efficientnet_style, crop_padding, interpolation, backend: EfficientNet's way, which also resizes, is not
            supported.
    """

    def __init__(
        self,
        crop_size: int | Sequence[int],
        efficientnet_style: bool = False,
        crop_padding: int = 32,
        interpolation: str = 'bilinear',
        backend: str = 'cv2',
    ) -> None:
        if efficientnet_style or (crop_padding, interpolation, backend) != (32, 'bilinear', 'cv2'):
            raise ValueError(
                'CenterCrop: efficientnet_style, and crop_padding, interpolation and backend, which belong to it, '
                'are not supported'
            )
        self.crop_size = as_size(crop_size)

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        refuse_objects(self, sample)
        height, width = sample['img'].shape[:2]
        high, wide = min(self.crop_size[0], height), min(self.crop_size[1], width)
        top, left = round((height - high) / 2), round((width - wide) / 2)
        crop(sample, left, top, left + wide, top + high, clip=True)
        return sample
