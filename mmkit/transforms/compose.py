"""A chain of transforms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmkit.registry import PIPELINES

Transform = Callable[[dict[str, Any]], Any]


@PIPELINES.register_module()
class Compose:
    """Transforms one after the other.

    A transform takes the sample, a dict, and returns it changed; the last one (`Collect`) returns a `Sample`. None from
    any of them ends the chain: the sample is unusable, and in training another one is drawn. Random transforms draw
    from `sample['rng']`, a numpy Generator (`mmkit.transforms.randomness.rng_of`).

    Args:
        transforms: configs, or callables.
    """

    def __init__(self, transforms: Sequence[Mapping[str, Any] | Transform]) -> None:
        self.transforms: list[Transform] = [
            PIPELINES.build(transform) if isinstance(transform, Mapping) else transform for transform in transforms
        ]
        for number, transform in enumerate(self.transforms):
            if not callable(transform):
                raise TypeError(f'transform {number} is neither a config nor callable: {transform!r}')

    def __call__(self, sample: dict[str, Any]) -> Any:
        for transform in self.transforms:
            sample = transform(sample)
            if sample is None:
                return None
        return sample

    def __repr__(self) -> str:
        return f'Compose({", ".join(type(transform).__name__ for transform in self.transforms)})'
