from __future__ import annotations

import pytest
import torch

from mmkit.dialects.spellings.metrics import METRICS as SPELLINGS
from mmkit.dialects.spellings.spelling import read_v3
from mmkit.errors import UserError
from mmkit.evaluation import ClassTruth, DetectionTruth, coco_truth
from mmkit.metrics import CrowdHumanMetric
from mmkit.structures import Instances
from tests.metrics.conftest import coco_content, perfect


def test_figures_are_rounded_and_named(truth: DetectionTruth) -> None:
    metric = CrowdHumanMetric(metric=['AP', 'JI'], prefix='crowd_human')
    metric.prepare(truth)
    assert metric.figures([perfect(0), perfect(1)]) == {'crowd_human/mAP': 0.5, 'crowd_human/JI': 1}
    assert CrowdHumanMetric('MR').metrics == ['MR']


def test_ignored_objects_excuse_detections() -> None:
    metric = CrowdHumanMetric('MR')
    metric.prepare(coco_truth(coco_content(2, ignore=1)))
    assert metric.compute([perfect(0), perfect(1)])['mMR'] < 1


def test_what_it_cannot_evaluate(truth: DetectionTruth) -> None:
    with pytest.raises(UserError, match='some of AP, MR, JI'):
        CrowdHumanMetric('mAP')
    with pytest.raises(UserError, match='mr_ref is one of CALTECH_-2, CALTECH_-4'):
        CrowdHumanMetric(mr_ref='CALTECH')
    metric = CrowdHumanMetric()
    with pytest.raises(UserError, match='compares objects'):
        metric.prepare(ClassTruth('a', ('b',), [0], torch.zeros(1).numpy()))
    metric.prepare(truth)
    with pytest.raises(UserError, match='labels and scores'):
        metric.compute([Instances(torch.zeros(0, 4))] * 2)


def test_spelling_of_3x() -> None:
    cfg = dict(type='CrowdHumanMetric', ann_file='a.odgt', metric=['AP'], backend_args=None, num_ji_process=4)
    neutral = dict(type='CrowdHumanMetric', ann_file='a.odgt', metric=['AP'], prefix='crowd_human')
    assert read_v3(cfg, SPELLINGS) == neutral
