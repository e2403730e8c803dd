"""Spellings of 3.x, one table for each kind of part: model, transform, dataset, hook."""

from mmkit.dialects.spellings.models import MODELS
from mmkit.dialects.spellings.spelling import Spelling, complete, read_v3, write_v3
from mmkit.dialects.spellings.transforms import TRANSFORMS

__all__ = ['MODELS', 'TRANSFORMS', 'Spelling', 'complete', 'read_v3', 'write_v3']
