"""Typed containers that travel between the rooms: the objects of an image, its meta, a sample, a batch."""

from mmkit.structures.batch import Batch, ImageMeta, Sample
from mmkit.structures.instances import Instances

__all__ = ['Batch', 'ImageMeta', 'Instances', 'Sample']
