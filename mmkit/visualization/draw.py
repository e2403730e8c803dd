"""Predictions and ground truth drawn on an image."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np

from mmkit.structures import ClassScores, Instances

Colour = tuple[int, int, int]

FONT = cv2.FONT_HERSHEY_SIMPLEX
GOLDEN_RATIO = 0.618033988749895


def draw_detections(
    image: np.ndarray,
    instances: Instances,
    classes: Sequence[str] | None = None,
    score_thr: float = 0.3,
    palette: Sequence[Colour] | None = None,
    thickness: int | None = None,
    font_size: float | None = None,
    mask_alpha: float = 0.5,
) -> np.ndarray:
    """Draw the objects of one image, those with the highest scores on top; without scores (ground truth), all of them.

    Args:
        image: (H, W, 3) uint8, BGR; not modified.
        instances: boxes in pixels of this image; labels, scores and masks are optional.
        classes: names of the labels; numbers are written without them.
        score_thr: 0..1, lower detections are left out.
        palette: BGR colour of each class.
        thickness: of lines in pixels; by default it depends on the size of the image.
        font_size: height of a capital letter in pixels; by default it depends on the size of the image.
        mask_alpha: opacity of masks, 0..1.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: the image is not (H, W, 3) uint8.
    """
    canvas = _canvas(image)
    shortest = min(canvas.shape[:2])
    thickness = thickness or max(1, round(shortest / 300))
    font_size = font_size or _font_size(canvas)
    shown = _chosen(instances, score_thr)
    labels = [0] * len(shown) if shown.labels is None else shown.labels.tolist()
    colours = _colours(labels, classes, palette)
    if shown.masks is not None and len(shown):
        _draw_masks(canvas, np.asarray(shown.masks.to_ndarray(), bool), colours, mask_alpha, thickness)
    for index, box in enumerate(shown.bboxes.tolist()):
        corners = [round(value) for value in box]
        cv2.rectangle(canvas, corners[:2], corners[2:], colours[index], thickness)
    for index, box in enumerate(shown.bboxes.tolist()):
        _draw_label(canvas, box, _caption(shown, index, classes), colours[index], font_size)
    return canvas


def draw_class(
    image: np.ndarray,
    scores: ClassScores,
    classes: Sequence[str] | None = None,
    palette: Sequence[Colour] | None = None,
) -> np.ndarray:
    """Write the best class and its score into the upper left corner; arguments as in `draw_detections`."""
    canvas = _canvas(image)
    (colour,) = _colours([scores.label], classes, palette)
    caption = f'{_name(scores.label, classes)} {scores.score:.2f}'
    _draw_label(canvas, [0.0, 0.0, 0.0, 0.0], caption, colour, _font_size(canvas))
    return canvas


def _canvas(image: np.ndarray) -> np.ndarray:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f'image must be (H, W, 3) uint8, got {image.shape} {image.dtype}')
    canvas: np.ndarray = np.ascontiguousarray(image).copy()
    return canvas


def _font_size(canvas: np.ndarray) -> float:
    return float(max(7.0, min(canvas.shape[:2]) / 55))


def _chosen(instances: Instances, score_thr: float) -> Instances:
    """Objects of at least `score_thr`, lowest scores first, so that the best are drawn last."""
    if instances.scores is None:
        return instances
    order = instances.scores.argsort()
    return instances[order[instances.scores[order] >= score_thr]]


def _colours(labels: list[int], classes: Sequence[str] | None, palette: Sequence[Colour] | None) -> list[Colour]:
    palette = palette or make_palette(max([len(classes or ()), *(label + 1 for label in labels)], default=0))
    chosen = [palette[label % len(palette)] for label in labels]
    return [(int(blue), int(green), int(red)) for blue, green, red in chosen]


def _caption(instances: Instances, index: int, classes: Sequence[str] | None) -> str:
    parts = []
    if instances.labels is not None:
        parts.append(_name(int(instances.labels[index]), classes))
    if instances.scores is not None:
        parts.append(f'{float(instances.scores[index]):.2f}')
    return ' '.join(parts)


def _name(label: int, classes: Sequence[str] | None) -> str:
    return classes[label] if classes is not None and label < len(classes) else f'class {label}'


def _draw_masks(canvas: np.ndarray, masks: np.ndarray, colours: list[Colour], alpha: float, thickness: int) -> None:
    for mask, colour in zip(masks, colours):
        if mask.shape != canvas.shape[:2]:
            raise ValueError(f'a mask of {mask.shape} on an image of {canvas.shape[:2]}')
        canvas[mask] = (canvas[mask] * (1 - alpha) + np.asarray(colour) * alpha).astype(np.uint8)
        contours = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
        cv2.drawContours(canvas, contours, -1, colour, thickness, cv2.LINE_AA)


def _draw_label(canvas: np.ndarray, box: list[float], caption: str, colour: Colour, font_size: float) -> None:
    """A filled strip with the caption, above the box or, at the edge of the image, inside."""
    if not caption:
        return
    scale = font_size / 21.0  # a capital letter of this font is 21 pixels high at scale 1
    weight = max(1, round(scale * 1.5))
    (width, height), below = cv2.getTextSize(caption, FONT, scale, weight)
    pad = max(1, round(font_size / 5))
    left = min(max(round(box[0]), 0), max(canvas.shape[1] - width - 2 * pad, 0))
    top = round(box[1]) - height - below - pad
    top = top if top >= 0 else max(round(box[1]), 0)
    cv2.rectangle(canvas, (left, top), (left + width + 2 * pad, top + height + below + pad), colour, -1)
    origin = (left + pad, top + height + pad)
    cv2.putText(
        canvas,
        caption,
        origin,
        fontFace=FONT,
        fontScale=scale,
        color=_text_colour(colour),
        thickness=weight,
        lineType=cv2.LINE_AA,
    )


def make_palette(num_classes: int) -> list[Colour]:
    """BGR colours of the classes; those of neighbours differ most, and the first N do not depend on the number."""
    colours = []
    for index in range(num_classes):
        hue = (0.02 + index * GOLDEN_RATIO) % 1.0
        red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, 0.95 if index % 2 == 0 else 0.75)
        colours.append((round(blue * 255), round(green * 255), round(red * 255)))
    return colours


def _text_colour(background: Sequence[int]) -> Colour:
    """Black or white, the more readable on a BGR colour."""
    blue, green, red = background
    return (0, 0, 0) if 0.114 * blue + 0.587 * green + 0.299 * red > 140 else (255, 255, 255)
