"""Masks of the objects of one image: as bitmaps, as polygons, or run-length encoded."""

from __future__ import annotations

from mmkit.structures.masks_base import Masks, rescaled_size
from mmkit.structures.masks_bitmap import BitmapMasks
from mmkit.structures.masks_encoded import EncodedMasks
from mmkit.structures.masks_polygon import PolygonMasks

__all__ = ['BitmapMasks', 'EncodedMasks', 'Masks', 'PolygonMasks', 'rescaled_size']
