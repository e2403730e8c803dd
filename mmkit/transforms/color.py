"""Changes of colours, which leave everything in its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.registry import TRANSFORMS
from mmkit.transforms.base import PixelTransform


@TRANSFORMS.register_module()
class Normalize:
    """(img - mean) / std in float32. Sets `img_norm_cfg`.

    Args:
        mean, std: one number a channel, in the order of the result.
        to_rgb: turn BGR into RGB first.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], to_rgb: bool = True) -> None:
        self.mean = np.array(mean, dtype=np.float32)
        self.std = np.array(std, dtype=np.float32)
        self.to_rgb = to_rgb
        if self.mean.shape != self.std.shape or not (self.std > 0).all():
            wrong = 'std' if self.mean.shape == (3,) else 'mean'
            raise InvalidValueError(
                f'mean and std are one number a channel, std above 0; got {mean} and {std}', key=wrong
            )

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        self.check_channels(sample['img'])
        img = sample['img'].astype(np.float32)  # a copy
        if self.to_rgb:
            cv2.cvtColor(img, cv2.COLOR_BGR2RGB, img)
        # OpenCV's arithmetic with doubles: a quarter of numpy's time, and the figures of mmdetection to the last bit
        cv2.subtract(img, self.mean.reshape(1, -1).astype(np.float64), img)
        cv2.multiply(img, 1 / self.std.reshape(1, -1).astype(np.float64), img)
        sample['img'] = img
        sample['img_norm_cfg'] = dict(mean=self.mean, std=self.std, to_rgb=self.to_rgb)
        return sample

    def check_channels(self, img: np.ndarray) -> None:
        """Raises an InvalidValueError if mean and std are for another number of channels."""
        channels = img.shape[2] if img.ndim == 3 else 1
        if self.mean.size not in (1, channels):
            raise InvalidValueError(
                f'Normalize: mean and std have {self.mean.size} numbers, the image has {channels} channels', key='mean'
            )


@dataclass(frozen=True)
class Distortion:
    """Parameters of `PhotoMetricDistortion`; None leaves a property as it is.

    Attributes:
        brightness: is added, out of 255.
        contrast: factor, before the changes in HSV space with `contrast_first`, else behind them.
        saturation: factor.
        hue: degrees.
        order: (3,) of the channels.
    """

    brightness: float | None
    contrast: float | None
    contrast_first: bool
    saturation: float | None
    hue: float | None
    order: np.ndarray | None


@TRANSFORMS.register_module()
class PhotoMetricDistortion(PixelTransform[Distortion]):
    """Brightness, contrast, saturation, hue and order of the channels, each changed half of the time, in float32.

    Contrast comes before or after the changes in HSV space, at random. arXiv:1512.02325

    Args:
        brightness_delta: at most so much is added, out of 255.
        contrast_range: (low, high) factor.
        saturation_range: (low, high) factor.
        hue_delta: at most so many degrees.
    """

    def __init__(
        self,
        brightness_delta: float = 32,
        contrast_range: Sequence[float] = (0.5, 1.5),
        saturation_range: Sequence[float] = (0.5, 1.5),
        hue_delta: float = 18,
    ) -> None:
        self.brightness_delta = brightness_delta
        self.contrast_range = contrast_range
        self.saturation_range = saturation_range
        self.hue_delta = hue_delta

    def draw(self, sample: dict[str, Any], rng: np.random.Generator) -> Distortion:
        def maybe(low: float, high: float) -> float | None:
            return rng.uniform(low, high) if rng.random() < 0.5 else None

        brightness = maybe(-self.brightness_delta, self.brightness_delta)
        contrast_first = rng.random() < 0.5
        contrast = maybe(*self.contrast_range) if contrast_first else None
        saturation, hue = maybe(*self.saturation_range), maybe(-self.hue_delta, self.hue_delta)
        contrast = contrast if contrast_first else maybe(*self.contrast_range)
        order = rng.permutation(3) if rng.random() < 0.5 else None
        return Distortion(brightness, contrast, contrast_first, saturation, hue, order)

    def apply_image(self, img: np.ndarray, params: Distortion) -> np.ndarray:
        img = img.astype(np.float32)
        if params.brightness is not None:
            img += np.float32(params.brightness)
        if params.contrast is not None and params.contrast_first:
            img *= np.float32(params.contrast)
        hsv = cv2.cvtColor(img, cv2.COLOR_BGR2HSV)  # hue in degrees, saturation 0..1
        if params.saturation is not None:
            hsv[..., 1] *= np.float32(params.saturation)
        if params.hue is not None:
            hsv[..., 0] = (hsv[..., 0] + np.float32(params.hue)) % 360
        img = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
        if params.contrast is not None and not params.contrast_first:
            img *= np.float32(params.contrast)
        return img if params.order is None else np.ascontiguousarray(img[..., params.order])


@TRANSFORMS.register_module()
class YOLOXHSVRandomAug(PixelTransform[np.ndarray]):
    """Shifts hue, saturation and value, each half of the time, of a BGR uint8 image. arXiv:2107.08430

    Args:
        hue_delta: at most so much is added or taken away, in OpenCV's units of two degrees.
        saturation_delta, value_delta: the same, out of 255.
    """

    def __init__(self, hue_delta: int = 5, saturation_delta: int = 30, value_delta: int = 30) -> None:
        self.deltas = np.array([hue_delta, saturation_delta, value_delta])

    def draw(self, sample: dict[str, Any], rng: np.random.Generator) -> np.ndarray:
        """(3,) shifts of hue, saturation and value."""
        shifts: np.ndarray = rng.uniform(-1, 1, 3) * self.deltas * rng.integers(0, 2, 3)
        return shifts.astype(np.int64)

    def apply_image(self, img: np.ndarray, params: np.ndarray) -> np.ndarray:
        check_uint8(self, img)
        hue, *others = params
        values = np.arange(256)
        tables = np.stack([(values + hue) % 180, *((values + shift).clip(0, 255) for shift in others)], axis=1)
        hsv = cv2.LUT(cv2.cvtColor(img, cv2.COLOR_BGR2HSV), tables[None].astype(np.uint8))
        return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)


def check_uint8(transform: PixelTransform[Any], img: np.ndarray) -> None:
    """Raises an InvalidTypeError for pixels of another type."""
    if img.dtype != np.uint8:
        raise InvalidTypeError(f'{type(transform).__name__} changes uint8 images, got {img.dtype}')
