"""Typed containers that travel between the rooms: the objects of an image, its meta, a sample, a batch."""

from mmkit.structures.batch import Batch, ImageMeta, Sample
from mmkit.structures.instances import Instances
from mmkit.structures.masks import BitmapMasks, EncodedMasks, Masks, PolygonMasks, rescaled_size

__all__ = [
    'Batch',
    'BitmapMasks',
    'EncodedMasks',
    'ImageMeta',
    'Instances',
    'Masks',
    'PolygonMasks',
    'Sample',
    'rescaled_size',
]
