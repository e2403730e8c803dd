"""Masks as polygons: exact, and small until they are drawn as pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from pycocotools import mask as rle
from torch import Tensor
from typing_extensions import Self

from mmkit.errors import InvalidValueError
from mmkit.structures.masks import BitmapMasks, Index, Masks, as_rows, check_direction, rescaled_size

Polygons = Sequence[Sequence[np.ndarray | Sequence[float]]]


class PolygonMasks(Masks):
    """Masks as polygons.

    Args:
        masks: for each object its polygons, each an array (x0, y0, x1, y1, ...) of at least three points.
        height, width: size of the canvas in pixels.

    Raises:
        InvalidValueError: a polygon has an odd number of coordinates or less than three points.
    """

    def __init__(self, masks: Polygons, height: int, width: int) -> None:
        self.height, self.width = int(height), int(width)
        self.masks = [[np.asarray(polygon, dtype=np.float64) for polygon in polygons] for polygons in masks]
        for number, polygons in enumerate(self.masks):
            for polygon in polygons:
                if polygon.ndim != 1 or len(polygon) < 6 or len(polygon) % 2:
                    raise InvalidValueError(
                        f'a polygon of object {number} is not x0, y0, x1, y1, x2, y2, ...: {polygon}'
                    )

    def __len__(self) -> int:
        return len(self.masks)

    def __getitem__(self, index: Index) -> Self:
        return type(self)([self.masks[row] for row in as_rows(index, len(self))], self.height, self.width)

    @property
    def areas(self) -> np.ndarray:
        """Areas (N,) float64 by the shoelace formula, parts outside of the canvas included."""
        return np.array([sum(_area(polygon) for polygon in polygons) for polygons in self.masks], dtype=np.float64)

    def to_ndarray(self) -> np.ndarray:
        return self.to_bitmap().masks

    def to_bitmap(self) -> BitmapMasks:
        pixels = [polygons_to_bitmap(polygons, self.height, self.width) for polygons in self.masks]
        return BitmapMasks(pixels, self.height, self.width)

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        height, width = cls._common_canvas(parts)
        return cls([polygons for part in parts for polygons in part.masks], height, width)

    def resize(self, out_shape: Sequence[int]) -> Self:
        """Resize to the canvas `out_shape`, (height, width)."""
        height, width = int(out_shape[0]), int(out_shape[1])
        return self._moved((width / self.width, height / self.height), (0.0, 0.0), height, width)

    def rescale(self, scale: float | Sequence[float]) -> Self:
        """Resize to `rescaled_size`."""
        return self.resize(rescaled_size(self.height, self.width, scale))

    def flip(self, direction: str = 'horizontal') -> Self:
        """Mirror 'horizontal', 'vertical' or, both, 'diagonal'."""
        check_direction(direction)
        x_sign, x_shift = (1.0, 0.0) if direction == 'vertical' else (-1.0, self.width)
        y_sign, y_shift = (1.0, 0.0) if direction == 'horizontal' else (-1.0, self.height)
        return self._moved((x_sign, y_sign), (x_shift, y_shift), self.height, self.width)

    def pad(self, out_shape: Sequence[int], pad_val: int = 0) -> Self:
        """Pad to a larger canvas (height, width) at the right and at the bottom, with zeros only."""
        if pad_val:
            raise InvalidValueError(f'polygons are padded with 0, not with {pad_val}', key='pad_val')
        return type(self)(self.masks, int(out_shape[0]), int(out_shape[1]))

    def expand(self, expanded_h: int, expanded_w: int, top: int, left: int) -> Self:
        """Place the canvas at (top, left) of a larger one."""
        return self._moved((1.0, 1.0), (left, top), expanded_h, expanded_w)

    def crop(self, bbox: np.ndarray | Sequence[float]) -> Self:
        """Crop to one box (x1, y1, x2, y2); parts outside are cut off when the polygons are drawn."""
        x1, x2 = np.clip([bbox[0], bbox[2]], 0, self.width)
        y1, y2 = np.clip([bbox[1], bbox[3]], 0, self.height)
        return self._moved((1.0, 1.0), (-float(x1), -float(y1)), max(int(y2 - y1), 1), max(int(x2 - x1), 1))

    def affine(self, matrix: np.ndarray) -> Self:
        """Apply the affine transform `matrix` (2, 3) of points (x, y), on the same canvas."""
        moved = [
            [(polygon.reshape(-1, 2) @ matrix[:, :2].T + matrix[:, 2]).reshape(-1) for polygon in polygons]
            for polygons in self.masks
        ]
        return type(self)(moved, self.height, self.width)

    def crop_and_resize(
        self,
        bboxes: np.ndarray | Tensor,
        out_shape: Sequence[int],
        inds: np.ndarray | Tensor,
        device: torch.device | str = 'cpu',
        binarize: bool = True,
    ) -> Tensor:
        """As in the base class; `binarize` must be True, and the polygons are drawn on the CPU."""
        if not binarize:
            raise InvalidValueError('polygons are drawn as 0 and 1: soft targets need bitmap masks (poly2mask=True)')
        height, width = int(out_shape[0]), int(out_shape[1])
        boxes = torch.as_tensor(bboxes).detach().cpu().numpy().astype(np.float64)
        targets = np.zeros((len(boxes), height, width), dtype=np.float32)
        for target, box, row in zip(targets, boxes, as_rows(inds, len(self))):
            x1, y1, x2, y2 = box[:4]
            scale = np.array([width / max(x2 - x1, 1.0), height / max(y2 - y1, 1.0)])
            inside = [((p.reshape(-1, 2) - box[:2]) * scale).reshape(-1) for p in self.masks[row]]
            target[:] = polygons_to_bitmap(inside, height, width)
        return torch.from_numpy(targets).to(device)

    def get_bboxes(self) -> np.ndarray:
        """Tightest boxes in the canvas, (N, 4) float32 xyxy; zeros for an object without polygons."""
        bboxes = np.zeros((len(self), 4), dtype=np.float32)
        for row, polygons in zip(bboxes, self.masks):
            if polygons:
                points = np.concatenate(polygons).reshape(-1, 2).clip(0, (self.width, self.height))
                row[:] = *points.min(axis=0), *points.max(axis=0)
        return bboxes

    def _moved(self, scale: tuple[float, float], shift: tuple[float, float], height: int, width: int) -> Self:
        moved = [
            [(polygon.reshape(-1, 2) * scale + shift).reshape(-1) for polygon in polygons] for polygons in self.masks
        ]
        return type(self)(moved, height, width)


def polygons_to_bitmap(polygons: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """Draw the polygons of one object by COCO's rules, (height, width) uint8."""
    if not polygons:
        return np.zeros((height, width), dtype=np.uint8)
    encoded = rle.frPyObjects([np.asarray(polygon, dtype=np.float64) for polygon in polygons], height, width)
    pixels: np.ndarray = rle.decode(rle.merge(encoded))
    return pixels


def _area(polygon: np.ndarray) -> float:
    x, y = polygon[0::2], polygon[1::2]
    return float(0.5 * np.abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))))
