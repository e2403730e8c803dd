"""Chains of transforms that are drawn for each image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmkit.errors import InvalidValueError
from mmkit.protocols import Transform
from mmkit.registry import TRANSFORMS
from mmkit.transforms.compose import Compose
from mmkit.transforms.randomness import rng_of

Chain = Sequence[Mapping[str, Any] | Transform]


def draw_number(rng: np.random.Generator, count: int, prob: Sequence[float] | None) -> int:
    """0 .. count - 1, evenly or with the probabilities `prob`."""
    return int(rng.integers(count) if prob is None else rng.choice(count, p=np.asarray(prob) / np.sum(prob)))


def as_chains(transforms: Sequence[Chain], key: str, prob: Sequence[float] | None = None) -> list[Compose]:
    """Chains from lists of transforms.

    Raises:
        InvalidValueError: if there are none, one of them is empty, or `prob` is for another number of them.
    """
    if not transforms or not all(isinstance(chain, (list, tuple)) and chain for chain in transforms):
        raise InvalidValueError(
            f'{key} is a list of lists of transforms, none of them empty; got {transforms!r}', key=key
        )
    if prob is not None and (len(prob) != len(transforms) or min(prob) < 0 or not math.isclose(sum(prob), 1)):
        raise InvalidValueError(f'prob has {len(transforms)} probabilities, 1 in all; got {prob}', key='prob')
    return [Compose(chain) for chain in transforms]


@TRANSFORMS.register_module()
class AutoAugment:
    """Applies one of several policies, each as likely as the others. arXiv:1906.11172, arXiv:2005.12872

    Args:
        policies: each a list of transforms, configs or callables.
        prob: probability of each policy, 1 in all.
    """

    def __init__(self, policies: Sequence[Chain], prob: Sequence[float] | None = None) -> None:
        self.policies = as_chains(policies, 'policies', prob)
        self.prob = prob

    def __call__(self, sample: dict[str, Any]) -> Any:
        return self.policies[draw_number(rng_of(sample), len(self.policies), self.prob)](sample)


@TRANSFORMS.register_module()
class RandAugment:
    """Applies several drawn chains of transforms one after the other; one may be drawn twice. arXiv:1909.13719

    Args:
        aug_space: each a list of transforms, configs or callables.
        aug_num: how many are drawn.
        prob: probability of each to be drawn, 1 in all; evenly without it.
    """

    def __init__(self, aug_space: Sequence[Chain], aug_num: int = 2, prob: Sequence[float] | None = None) -> None:
        self.chains = as_chains(aug_space, 'aug_space', prob)
        self.aug_num = aug_num
        self.prob = prob

    def __call__(self, sample: dict[str, Any]) -> Any:
        rng = rng_of(sample)
        numbers = [draw_number(rng, len(self.chains), self.prob) for _ in range(self.aug_num)]
        return Compose([self.chains[number] for number in numbers])(sample)


@TRANSFORMS.register_module()
class RandomOrder:
    """Applies transforms in a drawn order.

    Args:
        transforms: configs or callables.
    """

    def __init__(self, transforms: Sequence[Mapping[str, Any] | Transform]) -> None:
        self.transforms = Compose(transforms).transforms

    def __call__(self, sample: dict[str, Any]) -> Any:
        order = rng_of(sample).permutation(len(self.transforms))
        return Compose([self.transforms[number] for number in order])(sample)


# 3.x moves proposals along by this; here every transform moves them.
TRANSFORMS.register_module('ProposalBroadcaster', module=Compose)
