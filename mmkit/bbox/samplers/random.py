"""Random choice."""

from __future__ import annotations

from torch import Tensor

from mmkit.bbox.samplers.base import Choice, Sampler, random_choice
from mmkit.registry import BBOX_SAMPLERS


@BBOX_SAMPLERS.register_module()
class RandomSampler(Sampler):
    """Positives and negatives at random (arXiv:1506.01497). Arguments are those of `Sampler`."""

    def choose_pos(self, choice: Choice, num: int) -> Tensor:
        return random_choice(choice.positive, num)

    def choose_neg(self, choice: Choice, num: int) -> Tensor:
        return random_choice(choice.negative, num)
