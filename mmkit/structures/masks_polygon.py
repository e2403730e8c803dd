"""Masks as polygons: exact, and small until pixels are asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from pycocotools import mask as rle
from torch import Tensor
from typing_extensions import Self

from mmkit.structures.masks_base import Index, Masks, as_rows, check_direction, rescaled_size
from mmkit.structures.masks_bitmap import BitmapMasks

Polygons = Sequence[Sequence[np.ndarray | Sequence[float]]]


class PolygonMasks(Masks):
    """Masks as polygons.

    Args:
        masks: for each object its polygons, each an array (x0, y0, x1, y1, ...) of at least three points.
        height, width: size of the canvas.

    Raises:
        ValueError: if a polygon has an odd number of coordinates or less than three points.
    """

    def __init__(self, masks: Polygons, height: int, width: int) -> None:
        self.height, self.width = int(height), int(width)
        self.masks = [[np.asarray(polygon, dtype=np.float64) for polygon in polygons] for polygons in masks]
        for number, polygons in enumerate(self.masks):
            for polygon in polygons:
                if polygon.ndim != 1 or len(polygon) < 6 or len(polygon) % 2:
                    raise ValueError(f'a polygon of object {number} is not x0, y0, x1, y1, x2, y2, ...: {polygon}')

    def __len__(self) -> int:
        return len(self.masks)

    def __getitem__(self, index: Index) -> Self:
        return type(self)([self.masks[row] for row in as_rows(index, len(self))], self.height, self.width)

    @property
    def areas(self) -> np.ndarray:
        """(N,) float64, by the shoelace formula; what lies outside of the canvas counts too."""
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
        """To the canvas `out_shape` (height, width)."""
        height, width = int(out_shape[0]), int(out_shape[1])
        return self._moved((width / self.width, height / self.height), (0.0, 0.0), height, width)

    def rescale(self, scale: float | Sequence[float]) -> Self:
        """As `rescaled_size` says."""
        return self.resize(rescaled_size(self.height, self.width, scale))

    def flip(self, direction: str = 'horizontal') -> Self:
        check_direction(direction)
        x_sign, x_shift = (1.0, 0.0) if direction == 'vertical' else (-1.0, self.width)
        y_sign, y_shift = (1.0, 0.0) if direction == 'horizontal' else (-1.0, self.height)
        return self._moved((x_sign, y_sign), (x_shift, y_shift), self.height, self.width)

    def pad(self, out_shape: Sequence[int], pad_val: int = 0) -> Self:
        """A larger canvas (height, width), grown to the right and downwards; polygons cannot fill it with ones."""
        if pad_val:
            raise ValueError(f'polygons are padded with 0, not with {pad_val}')
        return type(self)(self.masks, int(out_shape[0]), int(out_shape[1]))

    def expand(self, expanded_h: int, expanded_w: int, top: int, left: int) -> Self:
        """A larger canvas in which the present one begins at (top, left)."""
        return self._moved((1.0, 1.0), (left, top), expanded_h, expanded_w)

    def crop(self, bbox: np.ndarray | Sequence[float]) -> Self:
        """What is inside one box (x1, y1, x2, y2); what sticks out is cut off when pixels are drawn."""
        x1, x2 = np.clip([bbox[0], bbox[2]], 0, self.width)
        y1, y2 = np.clip([bbox[1], bbox[3]], 0, self.height)
        return self._moved((1.0, 1.0), (-float(x1), -float(y1)), max(int(y2 - y1), 1), max(int(x2 - x1), 1))

    def affine(self, matrix: np.ndarray) -> Self:
        """On the same canvas after points (x, y) went where `matrix` (2, 3) says; what sticks out is cut off later."""
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
        """What mask `inds[k]` looks like inside box k: the target of a mask head. arXiv:1703.06870

        Args:
            bboxes: (K, 4) xyxy in pixels of the canvas.
            out_shape: (height, width) of the results.
            inds: (K,) numbers of masks.
            device: where the result is put; the polygons are drawn on the CPU.
            binarize: must be True.

        Returns:
            (K, height, width) float32, 0 and 1.
        """
        if not binarize:
            raise ValueError('polygons are drawn as 0 and 1: soft targets need bitmap masks (poly2mask=True)')
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
        """(N, 4) float32, the tightest boxes inside the canvas; zeros for an object without polygons."""
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
    """(height, width) uint8, by COCO's rules."""
    if not polygons:
        return np.zeros((height, width), dtype=np.uint8)
    encoded = rle.frPyObjects([np.asarray(polygon, dtype=np.float64) for polygon in polygons], height, width)
    pixels: np.ndarray = rle.decode(rle.merge(encoded))
    return pixels


def _area(polygon: np.ndarray) -> float:
    x, y = polygon[0::2], polygon[1::2]
    return float(0.5 * np.abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))))
