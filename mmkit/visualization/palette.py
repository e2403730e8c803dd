"""Colours that tell classes apart."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

Colour = tuple[int, int, int]

GOLDEN_RATIO = 0.618033988749895


def make_palette(num_classes: int) -> list[Colour]:
    """BGR colours, the same for a class whatever the number of classes; neighbours differ most."""
    colours = []
    for index in range(num_classes):
        hue = (0.02 + index * GOLDEN_RATIO) % 1.0
        red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, 0.95 if index % 2 == 0 else 0.75)
        colours.append((round(blue * 255), round(green * 255), round(red * 255)))
    return colours


def text_colour(background: Sequence[int]) -> Colour:
    """Black or white, whichever is readable on a BGR colour."""
    blue, green, red = background
    return (0, 0, 0) if 0.114 * blue + 0.587 * green + 0.299 * red > 140 else (255, 255, 255)
