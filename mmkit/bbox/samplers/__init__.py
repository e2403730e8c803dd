"""Samplers: which of the assigned priors the loss sees."""

from mmkit.bbox.samplers.base import Sampler, Samples
from mmkit.bbox.samplers.pseudo import PseudoSampler
from mmkit.bbox.samplers.random import RandomSampler

__all__ = [
    'PseudoSampler',
    'RandomSampler',
    'Sampler',
    'Samples',
]
