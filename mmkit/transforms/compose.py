"""A chain of transforms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmkit.errors import InvalidTypeError
from mmkit.protocols import Transform
from mmkit.registry import TRANSFORMS
from mmkit.structures import Sample


@TRANSFORMS.register_module()
class Compose:
    """Transforms one after the other.

    A transform takes the sample, a dict, and returns it changed; the last one (`Collect`) returns a `Sample`. None from
    any of them ends the chain: the sample is unusable, and in training another one is drawn. Random transforms draw
    from `sample['rng']`, a numpy Generator (`mmkit.transforms.rng_of`).

    Args:
        transforms: configs, or callables.

    Raises:
        InvalidTypeError: for anything else.
    """

    def __init__(self, transforms: Sequence[Mapping[str, Any] | Transform]) -> None:
        self.transforms: list[Transform] = []
        if not isinstance(transforms, Sequence):
            raise InvalidTypeError(f'a pipeline is a list of transforms, got {transforms!r}', key='pipeline')
        for number, transform in enumerate(transforms):
            if not isinstance(transform, Mapping) and not callable(transform):
                raise InvalidTypeError(f'transform {number} is neither a config nor callable: {transform!r}')
            self.transforms.append(TRANSFORMS.build(transform))

    def __call__(self, sample: dict[str, Any]) -> Any:
        changed: Any = sample
        for transform in self.transforms:
            try:
                changed = transform(changed)
            except (TypeError, AttributeError) as error:
                if not isinstance(changed, Sample):
                    raise
                message = f'{type(transform).__name__} comes after Collect, which gives a Sample: it takes a dict'
                raise InvalidTypeError(message) from error
            if changed is None:
                return None
        return changed

    def __repr__(self) -> str:
        return f'Compose({", ".join(type(transform).__name__ for transform in self.transforms)})'
