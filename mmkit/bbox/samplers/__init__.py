"""Samplers: they choose the assigned priors that the loss sees."""

from mmkit.bbox.samplers.balanced import CombinedSampler, InstanceBalancedPosSampler, IoUBalancedNegSampler
from mmkit.bbox.samplers.base import BaseSampler
from mmkit.bbox.samplers.ohem import OHEMSampler
from mmkit.bbox.samplers.pseudo import PseudoSampler
from mmkit.bbox.samplers.random import RandomSampler
from mmkit.bbox.samplers.score_hlr import ScoreHLRSampler

__all__ = [
    'BaseSampler',
    'CombinedSampler',
    'InstanceBalancedPosSampler',
    'IoUBalancedNegSampler',
    'OHEMSampler',
    'PseudoSampler',
    'RandomSampler',
    'ScoreHLRSampler',
]
