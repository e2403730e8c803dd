"""LVIS's federated AP, by hand: two images with a box each, of a rare and of a common category."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from mmkit.datasets import CocoDataset
from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.evaluation import ClassTruth
from mmkit.metrics import LVISMetric
from mmkit.structures import Instances
from tests.metrics.conftest import coco_content, perfect


@pytest.fixture
def dataset(tmp_path: Path) -> CocoDataset:
    """Nobody has looked for dogs in the first image; in the second there is a dog and certainly no cat."""
    content = coco_content()
    for image, negative in zip(content['images'], ([], [1])):
        image.update(neg_category_ids=negative, not_exhaustive_category_ids=[])
    for category, frequency in zip(content['categories'], 'rc'):
        category['frequency'] = frequency
    path = tmp_path / 'lvis.json'
    path.write_text(json.dumps(content))
    return CocoDataset(str(path), [], test_mode=True)


def evaluated(dataset, outputs, **options):
    metric = LVISMetric(**options)
    metric.prepare(dataset.truth())
    return metric.figures(outputs)


def with_wrong_one(found: Instances, label: int) -> Instances:
    """The detection and a better one of another label."""
    wrong = Instances(torch.tensor([[0.0, 0, 5, 5]]), torch.tensor([label]), torch.tensor([0.99]))
    return Instances.cat([found, wrong])


def test_perfect_detections(dataset):
    values = evaluated(dataset, [perfect(0), perfect(1)], prefix='lvis')
    assert values['lvis/bbox_AP'] == values['lvis/bbox_APr'] == values['lvis/bbox_APc'] == pytest.approx(1)
    assert values['lvis/bbox_APf'] == -1, 'there is no frequent category'


def test_a_wrong_detection_counts_where_somebody_has_looked_for_its_category(dataset):
    unknown = [with_wrong_one(perfect(0), 1), perfect(1)]
    assert evaluated(dataset, unknown)['bbox_AP'] == pytest.approx(1)
    known = [perfect(0), with_wrong_one(perfect(1), 0)]
    values = evaluated(dataset, known, classwise=True, metric_items=['AP', 'APr'])
    assert values['bbox_APr'] == pytest.approx(0.5) and values['bbox_AP'] == pytest.approx(0.75)
    assert values['bbox_AP/cat'] == pytest.approx(0.5) and 'bbox_AP50' not in values


def test_masks(dataset):
    values = evaluated(dataset, [perfect(0, True), perfect(1, True)], metric=['bbox', 'segm'])
    assert values['segm_AP'] == pytest.approx(1) and values['bbox_AP'] == pytest.approx(1)
    with pytest.raises(InvalidValueError, match='needs detections with masks'):
        evaluated(dataset, [perfect(0), perfect(1)], metric='segm')


def test_nothing_is_found(dataset):
    empty = perfect(0)[:0]
    assert evaluated(dataset, [empty, empty])['bbox_AP'] == 0


def test_results_only(dataset, tmp_path):
    out = tmp_path / 'out'
    assert evaluated(dataset, [perfect(0), perfect(1)], format_only=True, jsonfile_prefix=out) == {}
    assert len(json.loads((tmp_path / 'out.bbox.json').read_text())) == 2


def test_mistakes():
    with pytest.raises(InvalidValueError, match="unknown metric 'proposal'"):
        LVISMetric(metric='proposal')
    with pytest.raises(InvalidValueError, match='format_only=True'):
        LVISMetric(format_only=True)
    with pytest.raises(InvalidTypeError, match='compares objects'):
        LVISMetric().prepare(ClassTruth('x', (), [], torch.zeros(0).numpy()))
