from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch

from mmkit.errors import UserError
from mmkit.evaluation import ClassTruth, DetectionTruth
from mmkit.metrics import ClassificationMetric
from mmkit.structures import ClassScores
from tests.metrics.conftest import perfect

TRUTH = ClassTruth('folder', ('cat', 'dog'), range(2), np.array([0, 1]))
OUTPUTS = [ClassScores(torch.tensor([0.9, 0.1])), ClassScores(torch.tensor([0.7, 0.3]))]


def prepared(**options: Any) -> ClassificationMetric:
    metric = ClassificationMetric(**options)
    metric.prepare(TRUTH)
    return metric


def test_accuracy_and_recall(caplog: pytest.LogCaptureFixture) -> None:
    metric = prepared(metric=['accuracy', 'recall'], metric_options=dict(topk=(1, 2), average_mode='none'))
    with caplog.at_level(logging.INFO, 'mmkit'):
        values = metric.compute(OUTPUTS)
    assert values == {'accuracy_top-1': 50, 'accuracy_top-2': 100, 'recall_cat': 100, 'recall_dog': 0}
    assert 'recall_cat' in caplog.text


@pytest.mark.parametrize(
    ('options', 'key', 'message'),
    [
        (dict(metric='acuracy'), 'metric', "unknown metric 'acuracy', did you mean 'accuracy'"),
        (dict(metric_options=dict(top_k=1)), 'metric_options', "unknown metric option 'top_k', did you mean 'topk'"),
        (dict(metric_options=dict(topk=0)), 'metric_options.topk', r'topk is \[0\]'),
        (dict(metric_options=dict(topk='1,5')), 'metric_options.topk', "topk is '1,5'"),
        (dict(metric_options=dict(topk=(1, 5))), 'metric_options', 'top-5 accuracy of 2 classes'),
        (dict(metric_options=dict(thrs=50)), 'metric_options.thrs', 'thrs is 50, expected numbers from 0 to 1'),
        (dict(metric_options=dict(average_mode='micro')), 'metric_options', "unknown average_mode 'micro'"),
    ],
)
def test_wrong_options_are_refused_before_scores_come(options: dict[str, Any], key: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        prepared(**options)
    assert isinstance(error.value, UserError) and error.value.key == key


def test_what_it_needs(truth: DetectionTruth) -> None:
    with pytest.raises(TypeError, match=r'compares classes of whole images, and ann\.json has objects'):
        ClassificationMetric().prepare(truth)
    with pytest.raises(RuntimeError, match='prepare'):
        ClassificationMetric().compute(OUTPUTS)
    with pytest.raises(TypeError, match='these are detected objects'):
        prepared().compute([perfect(0)] * 2)
    with pytest.raises(ValueError, match='label 1 with scores of 1 classes'):
        prepared().compute([ClassScores(torch.ones(1))] * 2)
