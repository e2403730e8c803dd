"""Random sampling."""

from __future__ import annotations

from torch import Tensor

from mmkit.bbox.samplers.base import BaseSampler, SamplingContext, random_choice
from mmkit.registry import BBOX_SAMPLERS


@BBOX_SAMPLERS.register_module()
class RandomSampler(BaseSampler):
    """Positives and negatives at random (arXiv:1506.01497). Arguments are those of `BaseSampler`."""

    def choose_pos(self, context: SamplingContext, num: int) -> Tensor:
        return random_choice(context.positive, num)

    def choose_neg(self, context: SamplingContext, num: int) -> Tensor:
        return random_choice(context.negative, num)


# CrowdDet's RoI head adds the ground truths itself, before it assigns.
BBOX_SAMPLERS.register_module('MultiInsRandomSampler', module=RandomSampler, defaults=dict(add_gt_as_proposals=False))
