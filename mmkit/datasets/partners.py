"""Transforms that need more than one image, and how they choose the others."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from mmkit.datasets.seeded import SeededDataset

Choose = Callable[[SeededDataset, np.random.Generator], int | Sequence[int]]


@runtime_checkable
class MixTransform(Protocol):
    """A transform that needs more than one image: it names the others, and finds their samples in `mix_results`."""

    get_indexes: Callable[..., Any]

    def __call__(self, sample: dict[str, Any]) -> Any: ...


def chosen_partners(choose: Choose, dataset: SeededDataset, rng: np.random.Generator) -> list[int]:
    """Indices of the other images."""
    chosen = choose(dataset, rng)
    return [int(index) for index in (chosen if isinstance(chosen, Sequence) else [chosen])]


def chooser(transform: MixTransform) -> Choose:
    """`get_indexes` of a transform. Those written for mmdetection take the dataset alone, and draw from np.random."""
    if len(inspect.signature(transform.get_indexes).parameters) > 1:
        return transform.get_indexes
    return functools.partial(_without_rng, transform.get_indexes)  # can be sent to a worker, a lambda cannot


def _without_rng(get_indexes: Callable[..., Any], dataset: SeededDataset, rng: np.random.Generator) -> Any:
    return get_indexes(dataset)
