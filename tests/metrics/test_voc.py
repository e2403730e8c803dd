from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mmkit.errors import UserError
from mmkit.evaluation import ClassTruth, DetectionTruth, coco_truth
from mmkit.metrics import VOCMetric
from mmkit.structures import Instances
from tests.metrics.conftest import coco_content, perfect


def prepared(truth: DetectionTruth, **options: Any) -> VOCMetric:
    metric = VOCMetric(**options)
    metric.prepare(truth)
    return metric


def test_mean_ap_and_recall_of_one_pass(truth: DetectionTruth) -> None:
    values = prepared(truth, metric=['mAP', 'recall'], iou_thr=[0.5, 0.75]).compute([perfect(0), Instances.empty()])
    assert values['mAP'] == values['AP50'] == values['AP75'] == 0.5
    assert values['recall@100@0.5'] == values['AR@1000'] == 0.5


def test_crowds_and_objects_to_be_ignored_excuse_detections() -> None:
    for flag in ('iscrowd', 'ignore'):
        metric = prepared(coco_truth(coco_content(3, **{flag: 1})))
        assert metric.compute([perfect(0), perfect(1), perfect(0)])['mAP'] == 1


def test_boxes_with_their_last_pixel_overlap_more(truth: DetectionTruth) -> None:
    half = Instances(torch.tensor([[8.0, 20, 32, 32]]), torch.tensor([0]), torch.tensor([0.9]))
    # 24 x 12 of 24 x 24 is 0.5; with the last pixels it is 25 x 13 of 25 x 25, or 0.52
    outputs = [half, Instances.empty()]
    assert prepared(truth, iou_thr=0.51).compute(outputs)['mAP'] == 0
    assert prepared(truth, iou_thr=0.51, use_legacy_coordinate=True).compute(outputs)['mAP'] == 0.5


def test_eleven_points(truth: DetectionTruth) -> None:
    outputs = [perfect(0), Instances.empty()]
    outputs[1] = Instances(torch.tensor([[0.0, 0, 5, 5]]), torch.tensor([0]), torch.tensor([0.95]))
    # precision 0.5 at recall 1, a mistake came first; the other class is not found
    assert prepared(truth, eval_mode='11points').compute(outputs)['mAP'] == pytest.approx(0.25)


@pytest.mark.parametrize(
    ('options', 'key', 'message'),
    [
        (dict(metric='bbox'), 'metric', "metric is 'mAP' or 'recall', got 'bbox'"),
        (dict(metric=['mAP', 'map']), 'metric', "got 'map'"),
        (dict(metric=[]), 'metric', r'got \[\]'),
        (dict(iou_thr=50), 'iou_thr', 'iou_thr is 50, expected numbers from 0 to 1'),
        (dict(iou_thr=[]), 'iou_thr', r'\[\]'),
        (dict(proposal_nums=100), 'proposal_nums', 'list of positive whole numbers'),
        (dict(scale_ranges=[32, 96]), 'scale_ranges', r'expected \(from, to\) pairs of pixels'),
        (dict(scale_ranges=[(96, 32)]), 'scale_ranges', r'\[\(96, 32\)\]'),
        (dict(eval_mode='voc07'), 'eval_mode', "unknown eval_mode 'voc07'"),
        (dict(use_legacy_coordinate='no'), 'use_legacy_coordinate', "is 'no', expected True or False"),
    ],
)
def test_wrong_options_are_refused_at_construction(options: dict[str, Any], key: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        VOCMetric(**options)
    assert isinstance(error.value, UserError) and error.value.key == key


def test_what_it_needs(truth: DetectionTruth) -> None:
    with pytest.raises(TypeError, match='VOCMetric compares objects'):
        VOCMetric().prepare(ClassTruth('folder', (), range(2), np.zeros(2, int)))
    with pytest.raises(RuntimeError, match='prepare'):
        VOCMetric().compute([])
    with pytest.raises(ValueError, match='labels and scores'):
        prepared(truth).compute([Instances(torch.zeros(1, 4))] * 2)
    with pytest.raises(ValueError, match='outputs of 1 images for a dataset of 2'):
        prepared(truth).compute([perfect(0)])
