"""What metrics of 3.x say besides: another file of ground truth, prefixes, results only."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmkit.datasets import CocoDataset, ConcatDataset, CustomDataset
from mmkit.dialects.spellings import METRICS, read_v3
from mmkit.errors import InvalidValueError, MissingFileError, UserError
from tests.metrics.conftest import coco_content, make_meta, perfect


def save(path: Path, **changes: object) -> str:
    path.write_text(json.dumps({**coco_content(), **changes}))
    return str(path)


def figures(dataset, img_ids, **arguments):
    cfg = read_v3(dict(type='CocoMetric', metric='bbox', **arguments), METRICS)
    (metric,) = dataset.build_metrics(metrics=[cfg])
    for index, img_id in enumerate(img_ids):
        metric.process([make_meta(index, img_id)], [perfect(index)])
    return metric.evaluate()


def test_figures_have_the_prefix_of_3x_in_front(tmp_path):
    dataset = CocoDataset(save(tmp_path / 'a.json'), [], test_mode=True)
    values = figures(dataset, dataset.img_ids)
    assert values['coco/bbox_mAP'] == pytest.approx(1) and 'bbox_mAP' not in values
    assert figures(dataset, dataset.img_ids, prefix='mine')['mine/bbox_mAP'] == pytest.approx(1)


def test_classes_have_the_names_of_3x(tmp_path):
    dataset = CocoDataset(save(tmp_path / 'a.json'), [], test_mode=True)
    values = figures(dataset, dataset.img_ids, classwise=True)
    assert [values[f'coco/{name}_precision'] for name in dataset.CLASSES] == pytest.approx([1, 1])
    values = figures(dataset, dataset.img_ids, classwise=True, classwise_name='{metric}/{name}')
    assert values[f'coco/bbox/{dataset.CLASSES[0]}'] == pytest.approx(1)
    with pytest.raises(InvalidValueError, match='classwise_name is .mAP., expected a text with {name}'):
        figures(dataset, dataset.img_ids, classwise=True, classwise_name='mAP')


def test_the_ground_truth_of_another_file_counts(tmp_path):
    dataset = CocoDataset(save(tmp_path / 'a.json'), [], test_mode=True)
    other = coco_content()
    for annotation in other['annotations']:
        annotation['bbox'] = [0, 0, 1, 1]
    file = save(tmp_path / 'b.json', annotations=other['annotations'])
    assert figures(dataset, dataset.img_ids, ann_file=file)['coco/bbox_mAP'] == 0
    assert figures(dataset, dataset.img_ids, ann_file=dataset.ann_file)['coco/bbox_mAP'] == pytest.approx(1)


def test_images_of_another_file_are_found_by_their_ids(tmp_path, caplog):
    content = coco_content()
    file = save(tmp_path / 'b.json', images=content['images'][::-1])
    first = content['images'][:1]
    anns = [ann for ann in content['annotations'] if ann['image_id'] == first[0]['id']]
    dataset = CocoDataset(save(tmp_path / 'a.json', images=first, annotations=anns), [], test_mode=True)
    values = figures(dataset, dataset.img_ids, ann_file=file)
    assert values['coco/bbox_mAP'] == pytest.approx(0.5), 'one of the two classes is found'
    assert 'nothing is predicted for 1 of the images' in caplog.text


def test_parts_of_a_dataset_are_evaluated_together_by_a_file(tmp_path):
    dataset = CocoDataset(save(tmp_path / 'a.json'), [], test_mode=True)
    both = ConcatDataset([dataset], separate_eval=False)
    assert both.truth_in(dataset.ann_file) is dataset.truth()


def test_a_dataset_that_reads_no_other_files(tmp_path):
    path = tmp_path / 'a.json'
    path.write_text(json.dumps([{'filename': 'a.jpg', 'width': 9, 'height': 9, 'ann': {'bboxes': [], 'labels': []}}]))
    dataset = CustomDataset(str(path), [], classes=['a'], test_mode=True)
    with pytest.raises(InvalidValueError, match='is evaluated by its own ann_file'):
        dataset.build_metrics(metrics=[dict(type='CocoMetric', ann_file='b.json')])
    (metric,) = dataset.build_metrics(metrics=[dict(type='CrowdHumanMetric', ann_file=str(path))])
    assert metric.truth is dataset.truth()


def test_format_only_writes_the_detections_and_gives_no_figures(tmp_path):
    dataset = CocoDataset(save(tmp_path / 'a.json'), [], test_mode=True)
    prefix = str(tmp_path / 'out')
    assert figures(dataset, dataset.img_ids, format_only=True, outfile_prefix=prefix) == {}
    assert len(json.loads((tmp_path / 'out.bbox.json').read_text())) == 2
    with pytest.raises(InvalidValueError, match='format_only=True writes files'):
        dataset.build_metrics(metrics=[read_v3(dict(type='CocoMetric', format_only=True), METRICS)])


def test_voc_in_3x():
    cfg = read_v3(dict(type='VOCMetric', iou_thrs=[0.5, 0.75], collect_device='gpu'), METRICS)
    assert cfg == {
        'type': 'VOCMetric',
        'iou_thr': [0.5, 0.75],
        'prefix': 'pascal_voc',
        'eval_mode': '11points',
        'use_legacy_coordinate': True,
    }


def test_a_wrong_file_of_ground_truth_is_named(tmp_path):
    dataset = CocoDataset(save(tmp_path / 'a.json'), [], test_mode=True)
    with pytest.raises(MissingFileError, match='no annotation file') as missing:
        figures(dataset, [], ann_file=str(tmp_path / 'none.json'))
    categories = [{**each, 'name': f'other {each["name"]}'} for each in coco_content()['categories']]
    with pytest.raises(UserError, match='has no category') as other:
        figures(dataset, [], ann_file=save(tmp_path / 'b.json', categories=categories))
    assert missing.value.key == other.value.key == 'ann_file'
