"""Samples made of several images."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from mmkit.datasets.partners import Choose, MixTransform, chooser, chosen_partners
from mmkit.datasets.seeded import SeededDataset
from mmkit.datasets.wrappers import as_dataset
from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.protocols import Transform
from mmkit.registry import DATASETS, TRANSFORMS
from mmkit.transforms.compose import Compose


@DATASETS.register_module()
class MultiImageMixDataset(SeededDataset):
    """Runs transforms that need more than one image, such as Mosaic and MixUp.

    Such a transform has a method `get_indexes(dataset, rng)`, or `get_indexes(dataset)`, which names one or several
    more images; their samples are in `sample['mix_results']` when it is called.

    Args:
        dataset: a config or a dataset, whose pipeline ends before `Collect`.
        pipeline: transforms, configs or callables.
        dynamic_scale: None; mmdetection took this argument away, too: the model resizes its batches.
        skip_type_keys: `type` of transforms to leave out, see `update_skip_type_keys`.
        max_refetch: attempts until the transforms give a sample.

    Raises:
        InvalidValueError: if `dynamic_scale` is given, or a name of `skip_type_keys` is that of no transform.
    """

    def __init__(
        self,
        dataset: Mapping[str, Any] | SeededDataset,
        pipeline: Sequence[Mapping[str, Any] | Transform],
        dynamic_scale: object = None,
        skip_type_keys: Sequence[str] | None = None,
        max_refetch: int = 15,
    ) -> None:
        super().__init__()
        if dynamic_scale is not None:
            raise InvalidValueError(
                f'dynamic_scale={dynamic_scale} is not supported: let the model resize its batches', key='dynamic_scale'
            )
        self.dataset = as_dataset(dataset)
        self.CLASSES, self.PALETTE = self.dataset.CLASSES, self.dataset.PALETTE
        self.flag = self.dataset.flag
        self.max_refetch = max_refetch
        self.set_pipeline(pipeline)
        self.update_skip_type_keys(skip_type_keys or ())

    def set_pipeline(self, pipeline: Sequence[Mapping[str, Any] | Transform]) -> None:
        """Run these transforms from the next epoch on, none left out, in workers that start after this."""
        self.transforms = Compose(pipeline).transforms
        self.names = [str(step['type']) if isinstance(step, Mapping) else type(step).__name__ for step in pipeline]
        self._choosers = [chooser(step) if isinstance(step, MixTransform) else None for step in self.transforms]
        # shared memory, so that a change reaches workers that are already running
        self._skipped = torch.zeros(len(self.names), dtype=torch.bool)
        self._skipped.share_memory_()

    def update_skip_type_keys(self, skip_type_keys: Sequence[str]) -> None:
        """From the next epoch on leave out the transforms of these types, and only them.

        Known types that this pipeline doesn't have may be among them.
        """
        unknown = {name for name in skip_type_keys if name not in self.names and name not in TRANSFORMS}
        if unknown:
            raise InvalidValueError(
                f'skip_type_keys has {sorted(unknown)}, the pipeline is {self.names}', key='skip_type_keys'
            )
        for number, name in enumerate(self.names):
            self._skipped[number] = name in skip_type_keys

    def __len__(self) -> int:
        return len(self.dataset)

    def get_cat_ids(self, index: int) -> list[int]:
        return self.dataset.get_cat_ids(index)

    def get(self, index: int, rng: np.random.Generator) -> Any:
        sample: Any = self.dataset.get(index, rng)
        for transform, choose, skipped in zip(self.transforms, self._choosers, self._skipped.tolist()):
            if not skipped:
                sample = self._apply(transform, choose, sample, rng)
        return sample

    def _apply(
        self, transform: Transform, choose: Choose | None, sample: dict[str, Any], rng: np.random.Generator
    ) -> Any:
        for _ in range(self.max_refetch):
            attempt = copy.deepcopy(sample, {id(rng): rng})  # the generator goes on, it is not copied
            if choose is not None:
                if not isinstance(attempt, dict):
                    raise InvalidTypeError(
                        f'{type(transform).__name__} mixes the dicts of a pipeline, got a {type(attempt).__name__}: '
                        'DefaultFormatBundle and Collect belong behind it, not into the pipeline of the dataset inside'
                    )
                indices = chosen_partners(choose, self.dataset, rng)
                attempt['mix_results'] = [self.dataset.get(index, rng) for index in indices]
            changed = transform(attempt)
            if changed is not None:
                if isinstance(changed, dict):
                    changed.pop('mix_results', None)
                return changed
        raise RuntimeError(f'{type(transform).__name__} gave None {self.max_refetch} times in a row')
