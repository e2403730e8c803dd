"""Test-time augmentation: several views of one image."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from mmkit.errors import InvalidValueError
from mmkit.protocols import Transform
from mmkit.registry import TRANSFORMS
from mmkit.structures.masks import DIRECTIONS
from mmkit.transforms.checks import check_choice
from mmkit.transforms.compose import Compose
from mmkit.transforms.flipping import RandomFlip
from mmkit.transforms.resizing import as_scales


@TRANSFORMS.register_module()
class MultiScaleFlipAug:
    """Runs `transforms` for every scale, unflipped and then in every direction.

    One view gives the result of the transforms (a `Sample`), several views a list of results.

    Args:
        transforms: with `Resize` and, if `flip`, `RandomFlip`, which follow the view.
        img_scale: (long, short), or a list of such pairs.
        scale_factor: a factor, or a list of them; exactly one of the two is given.
        flip: flipped views, too.
        flip_direction: a direction, or a list of them.
    """

    def __init__(
        self,
        transforms: Sequence[Mapping[str, Any] | Transform],
        img_scale: Sequence[int] | Sequence[Sequence[int]] | None = None,
        scale_factor: float | Sequence[float] | None = None,
        flip: bool = False,
        flip_direction: str | Sequence[str] = 'horizontal',
    ) -> None:
        if (img_scale is None) == (scale_factor is None):
            raise InvalidValueError(
                f'exactly one of the two is needed, got img_scale={img_scale}, scale_factor={scale_factor}', 'img_scale'
            )
        self.scales: list[dict[str, Any]]
        if img_scale is not None:
            self.scales = [dict(scale=scale) for scale in as_scales(img_scale)]
        else:
            factors = [scale_factor] if isinstance(scale_factor, (int, float)) else list(scale_factor or ())
            self.scales = [dict(scale_factor=factor) for factor in factors]
        directions = [flip_direction] if isinstance(flip_direction, str) else list(flip_direction)
        for direction in directions:
            check_choice('flip_direction', direction, DIRECTIONS)
        self.flips: list[dict[str, Any]] = [dict(flip=False, flip_direction=None)]
        self.flips += [dict(flip=True, flip_direction=direction) for direction in directions] if flip else []
        self.transforms = Compose(transforms)
        if flip and not any(isinstance(transform, RandomFlip) for transform in self.transforms.transforms):
            raise InvalidValueError('MultiScaleFlipAug: flip=True needs RandomFlip among the transforms', 'flip')

    def __call__(self, sample: dict[str, Any]) -> Any:
        views = [{**scale, **flip} for scale in self.scales for flip in self.flips]
        results = [self.transforms({**copy.deepcopy(sample), **view}) for view in views[:-1]]
        results.append(self.transforms({**sample, **views[-1]}))
        return results[0] if len(results) == 1 else results


@TRANSFORMS.register_module()
class TestTimeAug:
    """Runs every combination of alternatives: one view for each way to choose a transform from each list.

    One view gives the result of its transforms (a `Sample`), several views a list of results.

    Args:
        transforms: lists of alternatives, such as several `Resize`; one of each list, in this order, makes a view.
    """

    def __init__(self, transforms: Sequence[Sequence[Mapping[str, Any] | Transform]]) -> None:
        if not transforms or not all(isinstance(choices, (list, tuple)) and choices for choices in transforms):
            raise InvalidValueError(
                f'TestTimeAug: transforms is a list of lists of alternatives, got {transforms!r}', key='transforms'
            )
        self.views = [Compose(chain) for chain in itertools.product(*transforms)]

    def __call__(self, sample: dict[str, Any]) -> Any:
        results = [view(copy.deepcopy(sample)) for view in self.views[:-1]]
        results.append(self.views[-1](sample))
        return results[0] if len(results) == 1 else results
