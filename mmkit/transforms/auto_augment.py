"""One of several chains of transforms, drawn for each image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmkit.errors import InvalidValueError
from mmkit.protocols import Transform
from mmkit.registry import TRANSFORMS
from mmkit.transforms.compose import Compose
from mmkit.transforms.randomness import rng_of


@TRANSFORMS.register_module()
class AutoAugment:
    """Applies one of several policies, each as likely as the others. arXiv:1906.11172, arXiv:2005.12872

    Args:
        policies: each a list of transforms, configs or callables.
    """

    def __init__(self, policies: Sequence[Sequence[Mapping[str, Any] | Transform]]) -> None:
        if not policies or not all(isinstance(policy, (list, tuple)) and policy for policy in policies):
            raise InvalidValueError(
                f'policies is a list of lists of transforms, none of them empty; got {policies!r}', key='policies'
            )
        self.policies = [Compose(policy) for policy in policies]

    def __call__(self, sample: dict[str, Any]) -> Any:
        return self.policies[int(rng_of(sample).integers(len(self.policies)))](sample)
