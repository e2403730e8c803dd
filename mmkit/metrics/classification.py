"""Metrics of image classification."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmkit.errors import InvalidTypeError
from mmkit.evaluation import ClassTruth, Truth, check_score_metrics, evaluate_scores, format_pairs
from mmkit.metrics.base import DatasetMetric, check_num_outputs
from mmkit.registry import METRICS
from mmkit.structures import ClassScores, Prediction
from mmkit.utils.logging import get_logger


@METRICS.register_module()
class ClassificationMetric(DatasetMetric):
    """Accuracy, precision, recall, F1 score and support of the classes of whole images.

    Args:
        metric: some of accuracy, precision, recall, f1_score, support.
        metric_options: `topk`, `thrs`, `average_mode`, see `mmkit.evaluation.evaluate_scores`.
        logger: where a table goes; the logger `mmkit` by default.

    Raises:
        InvalidValueError: naming the argument that is wrong.
    """

    def __init__(
        self,
        metric: str | Sequence[str] = 'accuracy',
        metric_options: Mapping[str, Any] | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        self.metrics = check_score_metrics(metric, metric_options, None)
        self.metric_options = dict(metric_options or {})
        self.logger = logger or get_logger()

    def prepare(self, truth: Truth) -> None:
        if not isinstance(truth, ClassTruth):
            message = f'ClassificationMetric compares classes of whole images, and {truth.source} has objects'
            raise InvalidTypeError(message, key='type')
        super().prepare(truth)
        check_score_metrics(self.metrics, self.metric_options, len(truth.classes) or None)

    def compute(self, predictions: Sequence[Prediction]) -> dict[str, float | str]:
        if not isinstance(self.truth, ClassTruth):
            raise RuntimeError('prepare(truth) comes before compute')
        check_num_outputs(predictions, len(self.truth))
        outputs = [out for out in predictions if isinstance(out, ClassScores)]
        if len(outputs) != len(predictions):
            raise InvalidTypeError('the metric is about scores of whole images, and these are detected objects')
        scores = np.stack([out.scores.numpy() for out in outputs])  # (N, C)
        values = evaluate_scores(scores, self.truth.labels, self.metrics, self.metric_options, self.truth.classes)
        pairs = [(name, f'{value:.2f}') for name, value in values.items()]
        self.logger.info('\n%s', format_pairs(pairs, ('metric', 'value'), 1))
        return {**values}
