"""Metrics of users: from a config, from a script, beside the built-in ones."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from mmkit.apis import evaluate_model, train_detector
from mmkit.datasets import ConcatDataset, CustomDataset, RepeatDataset, build_dataloader, build_metrics
from mmkit.engine.hooks.eval_hook import EvalHook
from mmkit.evaluation import Boxes, DetectionTruth
from mmkit.metrics import CocoMetric, DatasetMetric, EvaluateMetric, VOCMetric
from mmkit.registry import METRICS
from mmkit.structures import ImageMeta, Instances, Prediction
from tests.engine.toys import ToyDataset, toy_config, toy_model
from tests.metrics.conftest import perfect


class Found(DatasetMetric):
    """Share of the images with objects in which something was found that is sure enough."""

    def __init__(self, score_thr: float = 0.5) -> None:
        self.score_thr = score_thr

    def compute(self, predictions: Sequence[Prediction]) -> dict[str, float | str]:
        assert isinstance(self.truth, DetectionTruth)
        sure = [isinstance(out, Instances) and bool((out.scores > self.score_thr).any()) for out in predictions]
        with_objects = [index for index, boxes in enumerate(self.truth.boxes()) if len(boxes.labels)]
        return {'found': sum(sure[index] for index in with_objects) / len(with_objects)}


class Count:
    """Images and detections, by the three methods alone."""

    def reset(self) -> None:
        self.images = self.detections = 0

    def process(self, metas: Sequence[ImageMeta], predictions: Sequence[Prediction]) -> None:
        self.images += len(metas)
        self.detections += sum(len(each) for each in predictions)

    def evaluate(self) -> dict[str, float | str]:
        return {'images': self.images, 'detections': self.detections}


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    METRICS.register_module(module=Found)
    METRICS.register_module(module=Count)
    yield
    for name in ('Found', 'Count'):
        del METRICS._entries[name]


def boxes_dataset(tmp_path: Path, name: str = 'ann.json', num_images: int = 2) -> CustomDataset:
    ann = dict(bboxes=[[8, 20, 32, 44]], labels=[0])
    images = [dict(filename=f'{n}.png', width=64, height=64, ann=ann) for n in range(num_images)]
    (tmp_path / name).write_text(json.dumps(images))
    return CustomDataset(str(tmp_path / name), [], classes=('cat', 'dog'), test_mode=True)


def test_from_a_config_beside_the_evaluation_of_the_dataset(tmp_path: Path) -> None:
    evaluation = {'metric': 'bbox', 'metrics': [{'type': 'Count'}], 'save_best': 'images', 'rule': 'greater'}
    runner = train_detector(toy_model(), ToyDataset(), toy_config(tmp_path, evaluation=evaluation), validate=True)
    lines = [json.loads(line) for line in next(tmp_path.glob('*.log.json')).read_text().splitlines()]
    (first, *_) = (line for line in lines if line.get('mode') == 'val')
    assert (first['bbox_mAP'], first['images'], first['detections']) == (4, 4, 0)
    assert runner.best['images']['score'] == 4


def test_from_a_config_alone(tmp_path: Path) -> None:
    cfg = toy_config(tmp_path, evaluation={'metrics': [{'type': 'Count'}]})
    train_detector(toy_model(), ToyDataset(), cfg, validate=True)
    lines = [json.loads(line) for line in next(tmp_path.glob('*.log.json')).read_text().splitlines()]
    (first, *_) = (line for line in lines if line.get('mode') == 'val')
    assert first['images'] == 4 and 'bbox_mAP' not in first


def test_from_a_script_in_one_pass_over_the_data() -> None:
    dataset = ToyDataset(5)
    loader = build_dataloader(dataset, 2, 0, shuffle=False)
    model = toy_model().train()
    values = evaluate_model(model, loader, [Count(), {'type': 'Count'}, EvaluateMetric(dataset, {'metric': 'segm'})])
    assert values == {'images': 5, 'detections': 0, 'segm_mAP': 5}
    assert sorted(dataset.loaded) == [0, 1, 2, 3, 4] and model.training


def test_names_of_metrics_stand_among_those_of_the_dataset(tmp_path: Path) -> None:
    dataset = boxes_dataset(tmp_path)
    voc, found = dataset.build_metrics(metric=['mAP', 'Found'])
    assert isinstance(voc, VOCMetric) and isinstance(found, Found)
    assert found.compute([perfect(0), Instances.empty()]) == {'found': 0.5}
    (found,) = dataset.build_metrics(metric='Found')
    assert isinstance(found, Found)
    coco, found = dataset.build_metrics(metrics=[CocoMetric(), {'type': 'Found', 'score_thr': 0.95}])
    assert isinstance(coco, CocoMetric) and isinstance(found, Found)
    outputs = [perfect(0), perfect(0)]
    assert coco.compute(outputs)['bbox_mAP'] == pytest.approx(1) and found.compute(outputs) == {'found': 0}


def test_each_part_of_a_dataset_gets_its_own(tmp_path: Path) -> None:
    parts = [boxes_dataset(tmp_path, f'{n}.json', num_images=n) for n in (1, 2)]
    (metric,) = ConcatDataset(parts).build_metrics(metric=['mAP', 'Found'])
    assert isinstance(metric, DatasetMetric)
    values = metric.compute([perfect(0), Instances.empty(), perfect(0)])
    assert {name: values[name] for name in ('0_mAP', '1_mAP', '0_found', '1_found')} == {
        '0_mAP': 1,
        '1_mAP': 0.5,
        '0_found': 1,
        '1_found': 0.5,
    }
    voc, found = ConcatDataset(parts, separate_eval=False).build_metrics(metric=['mAP', 'Found'])
    assert isinstance(voc, VOCMetric) and isinstance(found, Found)
    assert found.compute([perfect(0), Instances.empty(), perfect(0)]) == {'found': 2 / 3}
    with pytest.raises(TypeError, match='Count is no DatasetMetric'):
        ConcatDataset(parts).build_metrics(metric='Count')


@pytest.mark.parametrize('num_parts', [2, 3])
def test_parts_together_have_the_objects_of_all(tmp_path: Path, num_parts: int) -> None:
    parts = [boxes_dataset(tmp_path, f'{n}.json', num_images=n + 1) for n in range(num_parts)]
    truth = ConcatDataset(parts, separate_eval=False).truth()
    assert isinstance(truth, DetectionTruth) and len(truth) == num_parts * (num_parts + 1) / 2
    assert [boxes.bboxes.tolist() for boxes in truth.boxes()] == [[[8, 20, 32, 44]]] * len(truth)
    assert isinstance(truth.boxes()[0], Boxes)


class TestDatasetsWithAnEvaluateOfTheirOwn:
    def test_its_figures_count(self, tmp_path: Path) -> None:
        class Mine(CustomDataset):
            def evaluate(self, outputs: Any, metric: str = 'mAP', logger: Any = None, bonus: float = 0) -> Any:
                return {'mine': super().evaluate(outputs, metric)['mAP'] + bonus}

        class Heir(Mine):
            """Inherits it."""

        path = boxes_dataset(tmp_path).ann_file
        for kind in (Mine, Heir):
            dataset = kind(path, [], classes=('cat',), test_mode=True)
            metric, count = dataset.build_metrics(metric='mAP', bonus=1, metrics=[{'type': 'Count'}])
            assert isinstance(metric, EvaluateMetric) and isinstance(count, Count)
            assert metric.compute([perfect(0), perfect(0)]) == {'mine': 2}
            with pytest.raises(TypeError, match=r"Mine\.evaluate has no argument 'bonsu'; the nearest is 'bonus'"):
                dataset.build_metrics(bonsu=1)
            both = ConcatDataset([dataset, dataset])
            assert both.evaluate([perfect(0)] * 4, bonus=2) == {'0_mine': 3, '1_mine': 3}
            (metric,) = both.build_metrics(bonus=2)
            assert isinstance(metric, DatasetMetric)
            assert metric.compute([perfect(0)] * 4) == {'0_mine': 3, '1_mine': 3}

    def test_datasets_of_any_kind(self) -> None:
        class Bare:
            def evaluate(self, outputs: Any) -> dict[str, float]:
                return {'number': len(outputs)}

        (metric,) = build_metrics(Bare())
        assert isinstance(metric, DatasetMetric) and metric.compute([perfect(0)]) == {'number': 1}
        with pytest.raises(TypeError, match='a list cannot be evaluated: it has no method evaluate'):
            build_metrics([])
        with pytest.raises(TypeError, match='a RepeatDataset cannot be evaluated: use the dataset in it'):
            build_metrics(RepeatDataset(ToyDataset(), 2))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'metrics': [{'type': 'Fuond'}]}, "'Fuond' is not a registered metric; the nearest: Found"),
        ({'metrics': [{'type': 'Found', 'score': 1}]}, "Found has no argument 'score'; the nearest is 'score_thr'"),
        ({'metrics': {'type': 'Found'}}, 'metrics is a list of dicts with `type`'),
        ({'metrics': ['Found']}, "a metric is built from a dict with `type`, or is an object; got 'Found'"),
        ({'iou_thrs': 0.5}, "VOCMetric has no argument 'iou_thrs'; the nearest is 'iou_thr'"),
    ],
)
def test_wrong_metrics_are_refused_before_the_training(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    loader = build_dataloader(boxes_dataset(tmp_path), 1, 0)
    with pytest.raises((TypeError, KeyError)) as error:
        EvalHook(loader, eval_args=arguments)
    assert message in str(error.value)
