from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmkit.datasets import CocoDataset, CustomDataset
from mmkit.errors import UserError
from mmkit.evaluation import ClassTruth, DetectionTruth, coco_truth
from mmkit.metrics import CocoMetric
from mmkit.structures import ClassScores, EncodedMasks, Instances
from tests.metrics.conftest import BOX, POLYGON, coco_content, perfect

ENGINES = ('hotcoco', 'pycocotools')
PERFECT = [perfect(0), perfect(1)]


def save(tmp_path: Path, content: Any) -> str:
    path = tmp_path / 'ann.json'
    path.write_text(json.dumps(content))
    return str(path)


def evaluate(content: dict[str, Any], **options: Any) -> dict[str, float | str]:
    metric = CocoMetric(**options)
    metric.prepare(coco_truth(content, 'ann.json'))
    return metric.compute([perfect(0, True), perfect(1, True)])


@pytest.mark.parametrize('engine', ENGINES)
@pytest.mark.parametrize(
    ('img', 'ann', 'cat'),
    [
        (lambda n: f'img_{n}', int, int),
        (str, int, int),
        (float, int, int),
        (lambda n: -n, int, int),
        (lambda n: n - 1, lambda n: n - 1, lambda n: n - 1),  # pycocotools itself takes an object 0 for none
        (int, lambda n: f'6ba7b810-{n}', int),
        (int, lambda n: -n, int),
        (int, int, lambda n: f'c{n}'),
        (int, int, lambda n: n + 0.5),
        (lambda n: n if n > 1 else 'one', lambda n: n if n > 1 else 'one', lambda n: n if n > 1 else 'one'),
    ],
)
def test_ids_of_every_kind(tmp_path: Path, engine: str, img: Any, ann: Any, cat: Any) -> None:
    content = coco_content()
    for number, (image, annotation, category) in enumerate(
        zip(content['images'], content['annotations'], content['categories']), 1
    ):
        image['id'] = annotation['image_id'] = img(number)
        annotation['id'] = ann(number)
        category['id'] = annotation['category_id'] = cat(number)
    dataset = CocoDataset(save(tmp_path, content), [], test_mode=True)
    values = dataset.evaluate(PERFECT, engine=engine, jsonfile_prefix=tmp_path / 'out', classwise=True)
    assert values['bbox_mAP'] == pytest.approx(1) and values['bbox_mAP/cat'] == pytest.approx(1)
    written = json.loads((tmp_path / 'out.bbox.json').read_text())
    assert [entry['image_id'] for entry in written] == [img(1), img(2)]
    assert [entry['category_id'] for entry in written] == [cat(1), cat(2)]


@pytest.mark.parametrize('engine', ENGINES)
@pytest.mark.parametrize('crowd', [None, '0', False, 0.0, ''])
def test_objects_that_are_no_crowds(tmp_path: Path, engine: str, crowd: Any) -> None:
    dataset = CocoDataset(save(tmp_path, coco_content(iscrowd=crowd)), [], test_mode=True)
    assert dataset.evaluate(PERFECT, engine=engine)['bbox_mAP'] == pytest.approx(1)
    assert len(dataset.get_ann_info(0)['bboxes']) == 1


@pytest.mark.parametrize('engine', ENGINES)
@pytest.mark.parametrize('crowd', [1, True, '1', 'true'])
def test_crowds_excuse_and_do_not_count(tmp_path: Path, engine: str, crowd: Any) -> None:
    dataset = CocoDataset(save(tmp_path, coco_content(iscrowd=crowd)), [], test_mode=True)
    values = dataset.evaluate(PERFECT, engine=engine, classwise=True)
    assert values['bbox_mAP/cat'] == -1 and values['bbox_mAP/dog'] == pytest.approx(1)
    assert len(dataset.get_ann_info(0)['bboxes_ignore']) == 1


def test_a_crowd_that_is_neither_is_named(tmp_path: Path) -> None:
    path = save(tmp_path, coco_content(iscrowd='many'))
    with pytest.raises(UserError, match=r"ann.json: iscrowd of annotation 1 \(image 1\): expected 0 or 1, got 'many'"):
        CocoDataset(path, [])


@pytest.mark.parametrize('engine', ENGINES)
@pytest.mark.parametrize(
    'segmentation',
    [
        None,
        [],
        POLYGON[0],
        [[[8, 20], [32, 20], [32, 44], [8, 44]]],
        [['8', '20', '32', '20', '32', '44']],
        [[float('nan')] * 6],
        {'counts': '0'},
        [{'size': [64, 64], 'counts': '0'}],
    ],
)
def test_masks_are_of_no_interest_for_boxes_and_missing_ones_cannot_be_found(
    engine: str, segmentation: Any, caplog: pytest.LogCaptureFixture
) -> None:
    content = coco_content(segmentation=segmentation)
    assert evaluate(content, engine=engine)['bbox_mAP'] == pytest.approx(1)
    assert 'mask' not in caplog.text
    values = evaluate(content, metric='segm', engine=engine, classwise=True)
    assert values['segm_mAP/cat'] == 0 and values['segm_mAP/dog'] == pytest.approx(1)
    assert 'ann.json: 1 of 2 objects have no mask (segmentation) and cannot be found by segm' in caplog.text


@pytest.mark.parametrize('engine', ENGINES)
def test_polygons_and_run_length_codes_are_masks(engine: str) -> None:
    bitmap = np.zeros((1, 64, 64), np.uint8)
    bitmap[0, 20:44, 8:32] = 1
    (code,) = EncodedMasks.from_bitmaps(bitmap).to_json()
    uncompressed = {'size': [64, 64], 'counts': [64 * 8 + 20, *([24, 40] * 23), 24, 64 * 64 - 64 * 31 - 44]}
    for segmentation in (POLYGON, [*POLYGON, [1, 1, 2, 2]], code, uncompressed):
        values = evaluate(coco_content(segmentation=segmentation), metric='segm', engine=engine)
        assert values['segm_mAP'] == pytest.approx(1), segmentation


@pytest.mark.parametrize('segmentation', [None, [], [[1, 2, 3]]])
def test_truth_without_masks_is_refused_when_the_metric_is_built(segmentation: Any) -> None:
    content = coco_content()
    for ann in content['annotations']:
        ann['segmentation'] = segmentation
    metric = CocoMetric('segm')
    with pytest.raises(UserError, match="'segm' compares masks, and none of the 2 objects of ann.json has a mask") as e:
        metric.prepare(coco_truth(content, 'ann.json'))
    assert e.value.key == 'metric'


def test_no_objects_at_all_are_no_mistake() -> None:
    assert evaluate({**coco_content(), 'annotations': []}, metric=['bbox', 'segm'])['segm_mAP'] == -1


@pytest.mark.parametrize('engine', ENGINES)
def test_classes_in_another_order_than_their_ids(tmp_path: Path, engine: str) -> None:
    dataset = CocoDataset(save(tmp_path, coco_content()), [], classes=('dog', 'cat'), test_mode=True)
    values = dataset.evaluate([perfect(1), Instances.empty()], engine=engine, classwise=True)
    assert values['bbox_mAP/cat'] == pytest.approx(1) and values['bbox_mAP/dog'] == 0


def test_names_that_are_numbers(tmp_path: Path) -> None:
    content = coco_content()
    for number, category in enumerate(content['categories']):
        category['name'] = number
    dataset = CocoDataset(save(tmp_path, content), [], classes=('0', '1'), test_mode=True)
    assert dataset.evaluate(PERFECT, classwise=True)['bbox_mAP/1'] == pytest.approx(1)


def test_the_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    read = Path.read_text

    def counted(path: Path, *args: Any, **options: Any) -> str:
        reads.append(path.name)
        return read(path, *args, **options)

    monkeypatch.setattr(Path, 'read_text', counted)
    path = save(tmp_path, coco_content())
    dataset = CocoDataset(path, [], test_mode=True)
    assert [dataset.evaluate(PERFECT, ['bbox', 'proposal_fast'])['AR@100'] for _ in range(2)] == [1, 1]
    assert reads == ['ann.json']
    training = CocoDataset(path, [])
    assert [training.evaluate(PERFECT)['bbox_mAP'] for _ in range(2)] == [pytest.approx(1)] * 2
    assert reads == ['ann.json'] * 3


@pytest.mark.parametrize('engine', ENGINES)
def test_one_metric_evaluates_again_and_again(truth: DetectionTruth, engine: str) -> None:
    metric = CocoMetric(['bbox', 'segm', 'proposal'], engine=engine)
    metric.prepare(truth)
    outputs = [perfect(0, True), perfect(1, True)]
    first, empty, again = (metric.compute(each) for each in (outputs, [Instances.empty()] * 2, outputs))
    assert first == again and first['segm_mAP'] == pytest.approx(1) and empty['bbox_mAP'] == empty['segm_mAP'] == 0


@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(metric=['bbox', 'proposal'], classwise=True),
        dict(metric='proposal_fast', proposal_nums=(5, 1)),
        dict(metric_items=['mAP_50', 'AR@10'], proposal_nums=(10,)),
        dict(metric_items='mAP_50', iou_thrs=0.5),
    ],
)
def test_names_are_known_before_figures(truth: DetectionTruth, options: dict[str, Any]) -> None:
    metric = CocoMetric(**options)
    metric.prepare(truth)
    assert set(metric.names) == {name for name in metric.compute(PERFECT) if not name.endswith('copypaste')}


@pytest.mark.parametrize(
    ('options', 'key', 'message'),
    [
        (dict(metric='bocks'), 'metric', "unknown metric 'bocks'"),
        (dict(metric=[]), 'metric', 'metric is empty'),
        (dict(metric=None), 'metric', 'metric is None, expected some of: bbox, segm'),
        (dict(iou_thrs='0.5:0.95'), 'iou_thrs', "iou_thrs is '0.5:0.95', expected numbers from 0 to 1"),
        (dict(iou_thrs=[50, 75]), 'iou_thrs', r'iou_thrs is \[50, 75\]'),
        (dict(iou_thrs=[]), 'iou_thrs', r'iou_thrs is \[\]'),
        (dict(iou_thrs=[0.5, float('nan')]), 'iou_thrs', 'nan'),
        (dict(iou_thrs=['0.5']), 'iou_thrs', "'0.5'"),
        (dict(iou_thrs=True), 'iou_thrs', 'True'),
        (dict(proposal_nums=100), 'proposal_nums', 'proposal_nums is 100, expected a list of positive whole numbers'),
        (dict(proposal_nums=[0]), 'proposal_nums', r'\[0\]'),
        (dict(proposal_nums=[1.5]), 'proposal_nums', r'\[1.5\]'),
        (dict(proposal_nums=()), 'proposal_nums', r'\(\)'),
        (dict(metric_items=['mAP_99']), 'metric_items', "unknown metric item 'mAP_99'"),
        (dict(metric_items=5), 'metric_items', 'metric_items is 5'),
        (dict(metric='proposal', metric_items=['mAP']), 'metric_items', "unknown metric item 'mAP'"),
        (dict(classwise='yes'), 'classwise', "classwise is 'yes', expected True or False"),
        (dict(engine='mine'), 'engine', "unknown engine 'mine'"),
        (dict(jsonfile_prefix=3), 'jsonfile_prefix', 'jsonfile_prefix is 3, expected a path'),
    ],
)
def test_wrong_options_are_refused_at_construction(options: dict[str, Any], key: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        CocoMetric(**options)
    assert isinstance(error.value, UserError) and error.value.key == key


def test_other_predictions_and_truths_are_refused(truth: DetectionTruth) -> None:
    with pytest.raises(TypeError, match='CocoMetric compares objects, and folder has none'):
        CocoMetric().prepare(ClassTruth('folder', ('cat',), range(2), np.zeros(2, int)))
    metric = CocoMetric()
    with pytest.raises(RuntimeError, match='prepare'):
        metric.compute(PERFECT)
    metric.prepare(truth)
    with pytest.raises(TypeError, match='these are scores of whole images'):
        metric.compute([ClassScores(torch.ones(2))] * 2)


def test_boxes_in_the_middle_format_too(tmp_path: Path) -> None:
    x, y, w, h = BOX
    box = [x, y, x + w, y + h]
    anns = [dict(bboxes=[box], labels=[0], masks=[POLYGON]), dict(bboxes=[], labels=[], bboxes_ignore=[box])]
    images = [dict(filename=f'{n}.png', width=64, height=64, ann=ann) for n, ann in enumerate(anns)]
    dataset = CustomDataset(save(tmp_path, images), [], classes=('cat', 'dog'), test_mode=True)
    (metric,) = dataset.build_metrics(metrics=[dict(type='CocoMetric', metric=['bbox', 'segm'])])
    assert isinstance(metric, CocoMetric)
    values = metric.compute([perfect(0, True), Instances.empty()])
    assert values['bbox_mAP'] == values['segm_mAP'] == pytest.approx(1)


def test_the_log_shows_a_table(truth: DetectionTruth, caplog: pytest.LogCaptureFixture) -> None:
    metric = CocoMetric(classwise=True, logger=logging.getLogger('mine'))
    metric.prepare(truth)
    with caplog.at_level(logging.INFO, 'mine'):
        metric.compute(PERFECT)
    assert 'bbox_mAP_50' in caplog.text and 'category' in caplog.text
