"""Spellings of 3.x, one table for each kind of part: model, transform, dataset, hook, metric."""

from mmkit.dialects.spellings.datasets import DATASETS
from mmkit.dialects.spellings.hooks import HOOKS
from mmkit.dialects.spellings.metrics import METRICS
from mmkit.dialects.spellings.models import MODELS
from mmkit.dialects.spellings.spelling import Spelling, complete, read_v3, write_v3
from mmkit.dialects.spellings.transforms import TRANSFORMS

__all__ = ['DATASETS', 'HOOKS', 'METRICS', 'MODELS', 'TRANSFORMS', 'Spelling', 'complete', 'read_v3', 'write_v3']
