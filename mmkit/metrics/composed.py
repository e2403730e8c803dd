"""Metrics made of other evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np

from mmkit.metrics.base import DatasetMetric, as_dataset_metric, check_num_outputs, compute_metrics
from mmkit.protocols import Metric
from mmkit.registry import check_arguments
from mmkit.structures import Prediction


class PartsMetric(DatasetMetric):
    """The figures of each part of a dataset by itself, with `0_`, `1_`, ... before their names.

    Args:
        parts: metrics of each part.
        lengths: number of images of each part.

    Raises:
        InvalidTypeError: if a metric is no `DatasetMetric`.
    """

    def __init__(self, parts: Sequence[Sequence[Metric]], lengths: Sequence[int]) -> None:
        self.parts = [[as_dataset_metric(metric) for metric in metrics] for metrics in parts]
        self.ends = np.cumsum([0, *lengths]).tolist()
        self.needs_masks = any(metric.needs_masks for metrics in self.parts for metric in metrics)
        if all(metric.names for metrics in self.parts for metric in metrics):
            self.names = [f'{i}_{name}' for i, part in enumerate(self.parts) for each in part for name in each.names]

    def compute(self, predictions: Sequence[Prediction]) -> dict[str, float | str]:
        check_num_outputs(predictions, self.ends[-1])
        values: dict[str, float | str] = {}
        for number, (metrics, start, end) in enumerate(zip(self.parts, self.ends, self.ends[1:])):
            figures = compute_metrics(metrics, predictions[start:end])
            values |= {f'{number}_{name}': value for name, value in figures.items()}
        return values


@runtime_checkable
class EvaluatesItself(Protocol):
    """A user's dataset with an `evaluate` of its own."""

    def evaluate(self, outputs: Sequence[Prediction], **options: Any) -> Mapping[str, float | str]:
        """The figures of predictions for all images, in order."""
        ...


class EvaluateMetric(DatasetMetric):
    """The figures that the `evaluate` of a user's dataset returns.

    Args:
        dataset: has the method.
        options: `metric` and other arguments of it.

    Raises:
        InvalidTypeError: if the method has no argument of that name.
    """

    def __init__(self, dataset: EvaluatesItself, options: Mapping[str, Any]) -> None:
        method = type(dataset).evaluate
        called = partial(method, dataset, ())
        vars(called)['__name__'] = method.__qualname__
        check_arguments(called, options)
        self.dataset = dataset
        self.options = dict(options)
        metric = self.options.get('metric') or ()
        self.needs_masks = 'segm' in ([metric] if isinstance(metric, str) else metric)

    def compute(self, predictions: Sequence[Prediction]) -> dict[str, float | str]:
        return dict(self.dataset.evaluate(predictions, **self.options))
