"""Datasets made of other datasets."""

from __future__ import annotations

import copy
import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from mmkit.datasets.seeded import SeededDataset, without_none
from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.evaluation import ClassTruth, DetectionTruth, Truth
from mmkit.metrics import PartsMetric, check_num_outputs
from mmkit.protocols import Metric, Transform
from mmkit.registry import DATASETS
from mmkit.structures import Prediction


def as_dataset(
    dataset: Mapping[str, Any] | SeededDataset, default_args: Mapping[str, Any] | None = None
) -> SeededDataset:
    """Builds a config; an object stays itself."""
    built = DATASETS.build(dataset, **(default_args or {})) if isinstance(dataset, Mapping) else dataset
    if not isinstance(built, SeededDataset):
        raise InvalidTypeError(f'a dataset is a SeededDataset, such as CustomDataset, got {type(built).__name__}')
    return built


@runtime_checkable
class SwitchesPipeline(Protocol):
    """A dataset whose pipeline can be replaced between two epochs."""

    def set_pipeline(self, pipeline: Sequence[Mapping[str, Any] | Transform]) -> None:
        """Make samples by these transforms from the next epoch on, in workers that start after this."""


def require_switchable(dataset: object) -> SwitchesPipeline:
    """The dataset, whose pipeline can be replaced.

    Raises:
        InvalidTypeError: it cannot.
    """
    if not isinstance(dataset, SwitchesPipeline):
        kind = type(dataset).__name__
        raise InvalidTypeError(f'the pipeline of a {kind} cannot be replaced: it has no method set_pipeline')
    return dataset


@DATASETS.register_module()
class ConcatDataset(SeededDataset):
    """Datasets one after the other.

    Args:
        datasets: configs or datasets; names and classes are those of the first.
        separate_eval: evaluate each by itself, with `0_`, `1_`, ... before the names of its metrics; otherwise all
            together.

    Raises:
        InvalidValueError: if there are none, or their classes differ.
    """

    def __init__(self, datasets: Sequence[Mapping[str, Any] | SeededDataset], separate_eval: bool = True) -> None:
        super().__init__()
        if not datasets:
            raise InvalidValueError('ConcatDataset of no datasets', key='datasets')
        self.datasets = [as_dataset(dataset) for dataset in datasets]
        self.separate_eval = separate_eval
        self.CLASSES, self.PALETTE = self.datasets[0].CLASSES, self.datasets[0].PALETTE
        for number, dataset in enumerate(self.datasets):
            if dataset.CLASSES != self.CLASSES:
                message = f'dataset {number} has the classes {dataset.CLASSES}, dataset 0 has {self.CLASSES}'
                raise InvalidValueError(message, key='datasets')
        self.flag = np.concatenate([dataset.groups() for dataset in self.datasets])
        self._ends = np.cumsum([len(dataset) for dataset in self.datasets])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def _locate(self, index: int) -> tuple[SeededDataset, int]:
        number = int(np.searchsorted(self._ends, index, side='right'))
        return self.datasets[number], index - (int(self._ends[number - 1]) if number else 0)

    def get(self, index: int, rng: np.random.Generator) -> Any:
        dataset, inner = self._locate(index)
        return dataset.get(inner, rng)

    def get_cat_ids(self, index: int) -> list[int]:
        dataset, inner = self._locate(index)
        return dataset.get_cat_ids(inner)

    def set_pipeline(self, pipeline: Sequence[Mapping[str, Any] | Transform]) -> None:
        for dataset in self.datasets:
            require_switchable(dataset).set_pipeline(pipeline)

    def truth(self) -> Truth | None:
        """Ground truth of all datasets together.

        Raises:
            InvalidValueError: if one of them has none, or another kind than the first.
        """
        truths = []
        for dataset in self.datasets:
            truth = dataset.truth()
            if not isinstance(truth, (DetectionTruth, ClassTruth)):
                raise _not_together(dataset)
            truths.append(truth)
        detections = [truth for truth in truths if isinstance(truth, DetectionTruth)]
        labels = [truth for truth in truths if isinstance(truth, ClassTruth)]
        if detections and labels:
            raise InvalidValueError('objects and classes of whole images are not evaluated together')
        return DetectionTruth.cat(detections) if detections else ClassTruth.cat(labels)

    def truth_in(self, ann_file: str) -> Truth:
        return self.datasets[0].truth_in(ann_file)

    def metric_config(self) -> dict[str, Any] | None:
        for dataset in self.datasets:
            if dataset.has_own_evaluate or dataset.metric_config() is None:
                raise _not_together(dataset)
        return self.datasets[0].metric_config()

    def build_metrics(
        self,
        metric: str | Sequence[str] | None = None,
        metrics: Sequence[Mapping[str, Any] | Metric] = (),
        **options: Any,
    ) -> list[Metric]:
        """As in `SeededDataset`; with separate_eval of each dataset by itself."""
        if self.has_own_evaluate or not self.separate_eval:
            return super().build_metrics(metric, metrics, **options)
        parts = [part.build_metrics(metric, copy.deepcopy(metrics), **options) for part in self.datasets]
        return [PartsMetric(parts, [len(part) for part in self.datasets])]

    has_own_evaluate = False

    def evaluate(
        self,
        outputs: Sequence[Prediction],
        metric: str | Sequence[str] | None = None,
        logger: logging.Logger | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """As the datasets do, with their options.

        Raises:
            InvalidValueError: with separate_eval=False, if one of them cannot be evaluated together with others.
        """
        if not self.separate_eval:
            return super().evaluate(outputs, metric, logger, **options)
        check_num_outputs(outputs, len(self))
        options |= without_none(metric=metric, logger=logger)
        values = {}
        for number, (dataset, end) in enumerate(zip(self.datasets, self._ends)):
            part = dataset.evaluate(outputs[end - len(dataset) : end], **options)
            values.update({f'{number}_{name}': value for name, value in part.items()})
        return values


def _not_together(dataset: SeededDataset) -> InvalidValueError:
    kind = type(dataset).__name__
    return InvalidValueError(f'{kind} is not evaluated with others: use separate_eval=True', key='separate_eval')


@DATASETS.register_module()
class RepeatDataset(SeededDataset):
    """A dataset `times` times in an epoch, each time augmented anew: fewer, longer epochs."""

    def __init__(self, dataset: Mapping[str, Any] | SeededDataset, times: int) -> None:
        super().__init__()
        self.dataset = as_dataset(dataset)
        self.times = times
        self.CLASSES, self.PALETTE = self.dataset.CLASSES, self.dataset.PALETTE
        self.flag = np.tile(self.dataset.groups(), times)

    def __len__(self) -> int:
        return self.times * len(self.dataset)

    def get(self, index: int, rng: np.random.Generator) -> Any:
        return self.dataset.get(index % len(self.dataset), rng)

    def get_cat_ids(self, index: int) -> list[int]:
        return self.dataset.get_cat_ids(index % len(self.dataset))

    def set_pipeline(self, pipeline: Sequence[Mapping[str, Any] | Transform]) -> None:
        require_switchable(self.dataset).set_pipeline(pipeline)


@DATASETS.register_module()
class ClassBalancedDataset(SeededDataset):
    """Images with rare classes more often. arXiv:1908.03195

    With f the share of images in which a class appears, the class asks for max(1, sqrt(oversample_thr / f))
    repetitions, and an image is repeated as often, rounded up, as the rarest of its classes asks for.

    Args:
        dataset: a config or a dataset.
        oversample_thr: classes in a smaller share of images are repeated.
        filter_empty_gt: images without objects do not count as a class of their own.
    """

    def __init__(
        self, dataset: Mapping[str, Any] | SeededDataset, oversample_thr: float, filter_empty_gt: bool = True
    ) -> None:
        super().__init__()
        self.dataset = as_dataset(dataset)
        self.oversample_thr = oversample_thr
        self.filter_empty_gt = filter_empty_gt
        self.CLASSES, self.PALETTE = self.dataset.CLASSES, self.dataset.PALETTE
        factors = self._repeat_factors()
        self.indices = np.repeat(np.arange(len(self.dataset)), [math.ceil(factor) for factor in factors])
        self.flag = self.dataset.groups()[self.indices]

    def _repeat_factors(self) -> list[float]:
        labels = [set(self.dataset.get_cat_ids(index)) for index in range(len(self.dataset))]
        if not self.filter_empty_gt:
            labels = [present or {-1} for present in labels]
        num_images = Counter(label for present in labels for label in present)
        asked = {
            label: max(1.0, math.sqrt(self.oversample_thr * len(labels) / num)) for label, num in num_images.items()
        }
        return [max((asked[label] for label in present), default=1.0) for present in labels]

    def __len__(self) -> int:
        return len(self.indices)

    def get(self, index: int, rng: np.random.Generator) -> Any:
        return self.dataset.get(int(self.indices[index]), rng)

    def get_cat_ids(self, index: int) -> list[int]:
        return self.dataset.get_cat_ids(int(self.indices[index]))

    def set_pipeline(self, pipeline: Sequence[Mapping[str, Any] | Transform]) -> None:
        require_switchable(self.dataset).set_pipeline(pipeline)
