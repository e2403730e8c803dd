"""Typed containers that travel between the rooms: the objects or the class of an image, its meta, a sample, a batch."""

from mmkit.structures.assignment import Assignment, PriorInfo, SamplingResult
from mmkit.structures.batch import Batch, ImageMeta, Sample
from mmkit.structures.class_scores import ClassScores, Prediction
from mmkit.structures.instances import Instances
from mmkit.structures.masks import BitmapMasks, Masks, rescaled_size
from mmkit.structures.masks_encoded import EncodedMasks
from mmkit.structures.masks_polygon import PolygonMasks
from mmkit.structures.pytree import register_node
from mmkit.structures.semi import SemiBatch, UnlabelledSample

__all__ = [
    'Assignment',
    'Batch',
    'BitmapMasks',
    'ClassScores',
    'EncodedMasks',
    'ImageMeta',
    'Instances',
    'Masks',
    'PolygonMasks',
    'Prediction',
    'PriorInfo',
    'Sample',
    'SamplingResult',
    'SemiBatch',
    'UnlabelledSample',
    'register_node',
    'rescaled_size',
]
