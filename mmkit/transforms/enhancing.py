"""Colour operations of known or drawn strength: those of AutoAugment (arXiv:1906.11172)."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps

from mmkit.registry import TRANSFORMS
from mmkit.transforms.base import PixelTransform
from mmkit.transforms.checks import MAX_LEVEL, check_level, check_probability
from mmkit.transforms.color import check_uint8


class LeveledTransform(PixelTransform[float]):
    """A change of colours whose magnitude follows from a level, or is drawn.

    Args:
        level: strength from 0 to 10, or None for a magnitude that is drawn between the two.
        prob: probability that it happens.
        min_mag, max_mag: magnitude at level 0 and at level 10.
    """

    def __init__(self, level: float | None, prob: float, min_mag: float, max_mag: float) -> None:
        if level is not None:
            check_level(type(self).__name__, level)
        check_probability(type(self).__name__, prob=prob)
        self.level = level
        self.prob = prob
        self.min_mag = min_mag
        self.max_mag = max_mag

    def draw(self, sample: dict[str, Any], rng: np.random.Generator) -> float | None:
        """The magnitude."""
        if rng.random() >= self.prob:
            return None
        if self.level is None:
            return rng.uniform(self.min_mag, self.max_mag)
        return self.level / MAX_LEVEL * (self.max_mag - self.min_mag) + self.min_mag


class Enhancement(LeveledTransform):
    """Blends the image with a poorer version of it, or away from it.

    Args:
        level: strength from 0 to 10: from almost only the poorer version to a factor of 1.9; a factor of 1 changes
            nothing. None draws the factor.
        prob: probability that it happens.
        min_mag, max_mag: factor at level 0 and at level 10.
    """

    def __init__(self, level: float | None, prob: float = 0.5, min_mag: float = 0.1, max_mag: float = 1.9) -> None:
        super().__init__(level, prob, min_mag, max_mag)

    def poorer(self, img: np.ndarray) -> np.ndarray | float:
        """The image at a factor of 0."""
        raise NotImplementedError

    def apply_image(self, img: np.ndarray, params: float) -> np.ndarray:
        blended: np.ndarray = img * np.float32(params) + self.poorer(img) * np.float32(1 - params)
        return blended.clip(0, 255).astype(img.dtype)


@TRANSFORMS.register_module()
class ColorTransform(Enhancement):
    """More or less colour: the poorer version is grey."""

    def poorer(self, img: np.ndarray) -> np.ndarray | float:
        return cv2.cvtColor(img, cv2.COLOR_BGR2GRAY)[..., None].astype(np.float32)


@TRANSFORMS.register_module()
class BrightnessTransform(Enhancement):
    """More or less light: the poorer version is black."""

    def poorer(self, img: np.ndarray) -> np.ndarray | float:
        return 0.0


@TRANSFORMS.register_module()
class ContrastTransform(Enhancement):
    """More or less contrast: the poorer version is the mean grey everywhere."""

    def poorer(self, img: np.ndarray) -> np.ndarray | float:
        return float(round(cv2.cvtColor(img, cv2.COLOR_BGR2GRAY).mean()))


@TRANSFORMS.register_module()
class Sharpness(Enhancement):
    """More or less detail: the poorer version is smoothed.

    Args:
        prob, level, min_mag, max_mag: as in `Enhancement`.
    """

    KERNEL = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13

    def __init__(
        self, prob: float = 1.0, level: float | None = None, min_mag: float = 0.1, max_mag: float = 1.9
    ) -> None:
        super().__init__(level, prob, min_mag, max_mag)

    def poorer(self, img: np.ndarray) -> np.ndarray | float:
        return cv2.filter2D(img, -1, self.KERNEL).astype(np.float32)


@TRANSFORMS.register_module()
class EqualizeTransform(PixelTransform[bool]):
    """Makes all intensities of a channel equally frequent, in uint8 images.

    Args:
        prob: probability that it happens.
    """

    def __init__(self, prob: float = 0.5) -> None:
        check_probability(type(self).__name__, prob=prob)
        self.prob = prob

    def draw(self, sample: dict[str, Any], rng: np.random.Generator) -> bool | None:
        return True if rng.random() < self.prob else None

    def apply_image(self, img: np.ndarray, params: bool) -> np.ndarray:
        check_uint8(self, img)
        return np.asarray(ImageOps.equalize(Image.fromarray(img)))


@TRANSFORMS.register_module()
class AutoContrast(EqualizeTransform):
    """Stretches the intensities of each channel of an uint8 image to 0..255.

    Args:
        prob: probability that it happens.
    """

    def __init__(self, prob: float = 1.0) -> None:
        super().__init__(prob)

    def apply_image(self, img: np.ndarray, params: bool) -> np.ndarray:
        check_uint8(self, img)
        return np.asarray(ImageOps.autocontrast(Image.fromarray(img)))


@TRANSFORMS.register_module()
class Invert(EqualizeTransform):
    """The negative of an uint8 image.

    Args:
        prob: probability that it happens.
    """

    def __init__(self, prob: float = 1.0) -> None:
        super().__init__(prob)

    def apply_image(self, img: np.ndarray, params: bool) -> np.ndarray:
        check_uint8(self, img)
        return 255 - img


@TRANSFORMS.register_module()
class Posterize(LeveledTransform):
    """Keeps the highest bits of each intensity of an uint8 image: as many as the magnitude, rounded up."""

    def __init__(
        self, prob: float = 1.0, level: float | None = None, min_mag: float = 0.0, max_mag: float = 4.0
    ) -> None:
        super().__init__(level, prob, min_mag, max_mag)

    def apply_image(self, img: np.ndarray, params: float) -> np.ndarray:
        check_uint8(self, img)
        kept_bits = np.uint8(0xFF << (8 - math.ceil(params)) & 0xFF)
        posterized: np.ndarray = np.bitwise_and(img, kept_bits)
        return posterized


@TRANSFORMS.register_module()
class Solarize(LeveledTransform):
    """Inverts the intensities of an uint8 image that are not below the magnitude."""

    def __init__(
        self, prob: float = 1.0, level: float | None = None, min_mag: float = 0.0, max_mag: float = 256.0
    ) -> None:
        super().__init__(level, prob, min_mag, max_mag)

    def apply_image(self, img: np.ndarray, params: float) -> np.ndarray:
        check_uint8(self, img)
        return np.where(img < params, img, 255 - img)


@TRANSFORMS.register_module()
class SolarizeAdd(LeveledTransform):
    """Adds the magnitude to the intensities of an uint8 image that are below 128."""

    def __init__(
        self, prob: float = 1.0, level: float | None = None, min_mag: float = 0.0, max_mag: float = 110.0
    ) -> None:
        super().__init__(level, prob, min_mag, max_mag)

    def apply_image(self, img: np.ndarray, params: float) -> np.ndarray:
        check_uint8(self, img)
        return np.where(img < 128, np.minimum(img + params, 255), img).astype(np.uint8)
