"""Masks as COCO's run-length codes, the form of predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as rle
from typing_extensions import Self

from mmkit.structures.masks import BitmapMasks, Index, Masks, as_rows


class EncodedMasks(Masks):
    """Run-length encoded masks.

    Args:
        masks: COCO's dicts of `size` (height, width) and `counts`, compressed (bytes, text) or a list of run lengths.
        height, width: size of the canvas in pixels.

    Raises:
        ValueError: a mask has another size.
    """

    def __init__(self, masks: Sequence[Mapping[str, Any]], height: int, width: int) -> None:
        self.height, self.width = int(height), int(width)
        self.masks = [compressed(mask) for mask in masks]
        for number, mask in enumerate(self.masks):
            if tuple(mask['size']) != (self.height, self.width):
                raise ValueError(f'mask {number} is of size {mask["size"]}, the canvas {self.height, self.width}')

    @classmethod
    def from_bitmaps(cls, bitmaps: np.ndarray) -> Self:
        """Encode bitmaps (N, height, width) of 0 and 1."""
        columns = np.asfortranarray(bitmaps.astype(np.uint8).transpose(1, 2, 0))
        return cls(rle.encode(columns) if len(bitmaps) else [], bitmaps.shape[1], bitmaps.shape[2])

    def __len__(self) -> int:
        return len(self.masks)

    def __getitem__(self, index: Index) -> Self:
        return type(self)([self.masks[row] for row in as_rows(index, len(self))], self.height, self.width)

    @property
    def areas(self) -> np.ndarray:
        """(N,) int64, in pixels."""
        return np.asarray(rle.area(self.masks) if self.masks else [], dtype=np.int64)

    def to_ndarray(self) -> np.ndarray:
        if not self.masks:
            return np.zeros((0, self.height, self.width), dtype=np.uint8)
        return np.ascontiguousarray(rle.decode(self.masks).transpose(2, 0, 1))

    def to_bitmap(self) -> BitmapMasks:
        return BitmapMasks(self.to_ndarray(), self.height, self.width)

    def to_json(self) -> list[dict[str, Any]]:
        """COCO's result format, with `counts` as text."""
        return [{'size': list(mask['size']), 'counts': mask['counts'].decode('ascii')} for mask in self.masks]

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        height, width = cls._common_canvas(parts)
        return cls([mask for part in parts for mask in part.masks], height, width)


def compressed(mask: Mapping[str, Any]) -> dict[str, Any]:
    """A run-length code with `counts` as compressed bytes, from any of COCO's three forms."""
    height, width = int(mask['size'][0]), int(mask['size'][1])
    counts = mask['counts']
    if isinstance(counts, (list, tuple, np.ndarray)):
        encoded: dict[str, Any] = rle.frPyObjects({'size': [height, width], 'counts': list(counts)}, height, width)
        return encoded
    return {'size': [height, width], 'counts': counts.encode('ascii') if isinstance(counts, str) else counts}
