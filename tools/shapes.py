"""Drawing of the shapes that `make_shapes.py` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

CLASSES = ('circle', 'square', 'triangle')
SPLITS = ('train', 'val')
MOST_TILT = 0.4  # radians; tilted at will, the shapes take a small network ten times as long to tell apart


def outline(kind: str, radius: float, tilt: float) -> np.ndarray:
    """Corners of a shape around (0, 0); without tilt a square stands flat and a triangle points up. (K, 2)"""
    corners, first = {'circle': (48, 0.0), 'square': (4, np.pi / 4), 'triangle': (3, -np.pi / 2)}[kind]
    angles = tilt + first + np.arange(corners) * 2 * np.pi / corners
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def area_of(polygon: np.ndarray) -> float:
    """Shoelace formula."""
    x, y = polygon.T
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)


def place_shapes(rng: np.random.Generator, size: int, most: int) -> list[tuple[int, np.ndarray]]:
    """(label, polygon) of one to `most` shapes that hardly overlap and lie within the image."""
    placed: list[tuple[int, np.ndarray]] = []
    circles: list[tuple[float, float, float]] = []
    for _ in range(int(rng.integers(1, most + 1))):
        for _ in range(20):
            radius = float(rng.uniform(0.09, 0.2) * size)
            x, y = rng.uniform(radius + 1, size - radius - 1, size=2)
            if all(np.hypot(x - cx, y - cy) > 0.85 * (radius + r) for cx, cy, r in circles):
                label = int(rng.integers(len(CLASSES)))
                corners = outline(CLASSES[label], radius, float(rng.uniform(-MOST_TILT, MOST_TILT)))
                placed.append((label, corners + np.array([x, y])))
                circles.append((x, y, radius))
                break
    return placed


def paint(rng: np.random.Generator, size: int, shapes: list[tuple[int, np.ndarray]]) -> np.ndarray:
    """(size, size, 3) uint8: a soft gradient, the shapes, noise over all."""
    ground, other = rng.uniform(60, 200, size=(2, 3))
    ramp = np.linspace(0, 1, size)[:, None, None]
    image = np.broadcast_to(ground * (1 - ramp) + other * ramp, (size, size, 3)).astype(np.uint8).copy()
    for _, polygon in shapes:
        around = image[tuple(np.clip(polygon.mean(axis=0)[::-1].astype(int), 0, size - 1))].astype(float)
        colour = rng.uniform(0, 255, size=3)
        while np.abs(colour - around).max() < 70:  # a shape nobody can see teaches nothing
            colour = rng.uniform(0, 255, size=3)
        points = np.round(polygon * 16).astype(np.int32)  # four fractional bits
        cv2.fillPoly(image, [points], colour.tolist(), cv2.LINE_AA, shift=4)
    noise = rng.normal(0, 6, size=image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def make_split(out: Path, split: str, num_images: int, size: int, seed: int, most: int) -> dict[str, Any]:
    """Writes the images of a split and its annotation file; returns what the file holds."""
    (out / split).mkdir(parents=True, exist_ok=True)
    (out / 'annotations').mkdir(exist_ok=True)
    images, annotations = [], []
    for image_id in range(1, num_images + 1):
        rng = np.random.default_rng([seed, SPLITS.index(split), image_id])
        shapes = place_shapes(rng, size, most)
        name = f'{image_id:05d}.png'
        cv2.imwrite(str(out / split / name), paint(rng, size, shapes))
        images.append(dict(id=image_id, file_name=name, height=size, width=size))
        for label, polygon in shapes:
            low, high = polygon.min(axis=0), polygon.max(axis=0)
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=image_id,
                    category_id=label + 1,
                    bbox=[round(float(v), 2) for v in (*low, *(high - low))],
                    area=round(area_of(polygon), 2),
                    segmentation=[[round(float(v), 2) for v in polygon.reshape(-1)]],
                    iscrowd=0,
                )
            )
    categories = [dict(id=index + 1, name=name, supercategory='shape') for index, name in enumerate(CLASSES)]
    content = dict(
        info=dict(description='drawn shapes', seed=seed), images=images, annotations=annotations, categories=categories
    )
    (out / 'annotations' / f'{split}.json').write_text(json.dumps(content))
    return content
