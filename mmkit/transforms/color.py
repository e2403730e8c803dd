"""What changes the colours and leaves everything where it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps

from mmkit.registry import PIPELINES
from mmkit.transforms.randomness import rng_of
from mmkit.transforms.strength import MAX_LEVEL, check_level, check_probability


@PIPELINES.register_module()
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
            raise ValueError(f'mean and std are one number a channel, std above 0; got {mean} and {std}')

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        img = sample['img'].astype(np.float32)  # a copy
        channels = img.shape[2] if img.ndim == 3 else 1
        if self.mean.size not in (1, channels):
            raise ValueError(
                f'Normalize: mean and std have {self.mean.size} numbers, the image has {channels} channels'
            )
        if self.to_rgb:
            cv2.cvtColor(img, cv2.COLOR_BGR2RGB, img)
        # OpenCV's arithmetic with doubles: a quarter of numpy's time, and the figures of mmdetection to the last bit
        cv2.subtract(img, self.mean.reshape(1, -1).astype(np.float64), img)
        cv2.multiply(img, 1 / self.std.reshape(1, -1).astype(np.float64), img)
        sample['img'] = img
        sample['img_norm_cfg'] = dict(mean=self.mean, std=self.std, to_rgb=self.to_rgb)
        return sample


@PIPELINES.register_module()
class PhotoMetricDistortion:
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

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        rng = rng_of(sample)
        img = sample['img'].astype(np.float32)
        if rng.random() < 0.5:
            img += np.float32(rng.uniform(-self.brightness_delta, self.brightness_delta))
        contrast_first = rng.random() < 0.5
        if contrast_first:
            img = self._contrast(img, rng)
        img = self._saturation_and_hue(img, rng)
        if not contrast_first:
            img = self._contrast(img, rng)
        if rng.random() < 0.5:
            img = np.ascontiguousarray(img[..., rng.permutation(3)])
        sample['img'] = img
        return sample

    def _contrast(self, img: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return (
            img * np.float32(rng.uniform(self.contrast_range[0], self.contrast_range[1])) if rng.random() < 0.5 else img
        )

    def _saturation_and_hue(self, img: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        hsv = cv2.cvtColor(img, cv2.COLOR_BGR2HSV)  # hue in degrees, saturation 0..1
        if rng.random() < 0.5:
            hsv[..., 1] *= np.float32(rng.uniform(self.saturation_range[0], self.saturation_range[1]))
        if rng.random() < 0.5:
            hsv[..., 0] = (hsv[..., 0] + np.float32(rng.uniform(-self.hue_delta, self.hue_delta))) % 360
        return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)


@PIPELINES.register_module()
class YOLOXHSVRandomAug:
    """Shifts hue, saturation and value, each half of the time, of a BGR uint8 image. arXiv:2107.08430

    Args:
        hue_delta: at most so much is added or taken away, in OpenCV's units of two degrees.
        saturation_delta, value_delta: the same, out of 255.
    """

    def __init__(self, hue_delta: int = 5, saturation_delta: int = 30, value_delta: int = 30) -> None:
        self.deltas = np.array([hue_delta, saturation_delta, value_delta])

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        if sample['img'].dtype != np.uint8:
            raise TypeError(f'YOLOXHSVRandomAug changes uint8 images, got {sample["img"].dtype}')
        rng = rng_of(sample)
        shifts = (rng.uniform(-1, 1, 3) * self.deltas * rng.integers(0, 2, 3)).astype(np.int64)
        values = np.arange(256)
        tables = np.stack(
            [(values + shifts[0]) % 180, *((values + shift).clip(0, 255) for shift in shifts[1:])], axis=1
        )
        hsv = cv2.LUT(cv2.cvtColor(sample['img'], cv2.COLOR_BGR2HSV), tables[None].astype(np.uint8))
        sample['img'] = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
        return sample


def factor_of(level: float, name: str) -> float:
    """A level from 0 to 10 as the factor of an enhancement, 0.1 to 1.9; 1 changes nothing."""
    check_level(level, name)
    return level / MAX_LEVEL * 1.8 + 0.1


def blend(img: np.ndarray, other: np.ndarray | float, factor: float) -> np.ndarray:
    """factor * img + (1 - factor) * other, cut to 0..255, in the type of the image."""
    return (img * np.float32(factor) + other * np.float32(1 - factor)).clip(0, 255).astype(img.dtype)


class Enhancement:
    """Blends the image with a poorer version of it, or away from it. arXiv:1906.11172

    Args:
        level: strength from 0 to 10: from almost only the poorer version to a factor of 1.9.
        prob: how often it happens.
    """

    def __init__(self, level: float, prob: float = 0.5) -> None:
        self.factor = factor_of(level, type(self).__name__)
        self.prob = prob
        check_probability(type(self).__name__, prob=prob)

    def poorer(self, img: np.ndarray) -> np.ndarray | float:
        raise NotImplementedError

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        if rng_of(sample).random() < self.prob:
            sample['img'] = blend(sample['img'], self.poorer(sample['img']), self.factor)
        return sample


@PIPELINES.register_module()
class ColorTransform(Enhancement):
    """More or less colour: the poorer version is grey."""

    def poorer(self, img: np.ndarray) -> np.ndarray | float:
        return cv2.cvtColor(img, cv2.COLOR_BGR2GRAY)[..., None].astype(np.float32)


@PIPELINES.register_module()
class BrightnessTransform(Enhancement):
    """More or less light: the poorer version is black."""

    def poorer(self, img: np.ndarray) -> np.ndarray | float:
        return 0.0


@PIPELINES.register_module()
class ContrastTransform(Enhancement):
    """More or less contrast: the poorer version is the mean grey everywhere."""

    def poorer(self, img: np.ndarray) -> np.ndarray | float:
        return float(round(cv2.cvtColor(img, cv2.COLOR_BGR2GRAY).mean()))


@PIPELINES.register_module()
class EqualizeTransform:
    """Makes all intensities of a channel equally frequent, in uint8 images. arXiv:1906.11172

    Args:
        prob: how often it happens.
    """

    def __init__(self, prob: float = 0.5) -> None:
        check_probability('EqualizeTransform', prob=prob)
        self.prob = prob

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        if rng_of(sample).random() < self.prob:
            if sample['img'].dtype != np.uint8:
                raise TypeError(f'EqualizeTransform changes uint8 images, got {sample["img"].dtype}')
            sample['img'] = np.asarray(ImageOps.equalize(Image.fromarray(sample['img'])))
        return sample
