from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from mmkit.datasets import CocoDataset, build_dataset
from mmkit.structures import EncodedMasks, Instances

SQUARE = dict(segmentation=[[2, 2, 12, 2, 12, 12, 2, 12]], area=100)


def detections(bboxes, labels, scores=None, masks=None) -> Instances:
    scores = [0.9] * len(labels) if scores is None else scores
    return Instances(
        torch.tensor(bboxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(labels).long(),
        torch.tensor(scores),
        masks,
    )


def test_classes_come_from_the_file_in_the_order_of_their_ids(coco):
    dataset = CocoDataset(coco([(40, 50)], [(0, 7, (1, 2, 10, 20)), (0, 3, (5, 5, 10, 10))]), [])
    assert dataset.CLASSES == ('dog', 'cat')
    assert dataset.cat_ids == [3, 7]
    ann = dataset.get_ann_info(0)
    assert ann['bboxes'].tolist() == [[1, 2, 11, 22], [5, 5, 15, 15]]
    assert ann['labels'].tolist() == [1, 0]
    assert dataset.get_cat_ids(0) == [1, 0]


@pytest.mark.parametrize('kind', [tuple, list, 'file'])
def test_given_classes_decide_on_the_labels(coco, tmp_path, kind):
    path = coco([(40, 50)], [(0, 7, (1, 2, 10, 20)), (0, 3, (5, 5, 10, 10))])
    names = ['cat', 'dog']
    (tmp_path / 'names.txt').write_text('cat\n\ndog\n')
    dataset = CocoDataset(path, [], classes=str(tmp_path / 'names.txt') if kind == 'file' else kind(names))
    assert dataset.CLASSES == ('cat', 'dog')
    assert dataset.get_ann_info(0)['labels'].tolist() == [0, 1]


def test_a_subclass_names_its_classes(coco):
    class Cats(CocoDataset):
        CLASSES = ('cat',)

    dataset = Cats(coco([(40, 50)], [(0, 7, (1, 2, 10, 20)), (0, 3, (5, 5, 10, 10))]), [])
    assert dataset.get_ann_info(0)['labels'].tolist() == [0]


def test_wrong_classes_are_errors(coco):
    path = coco([(40, 50)], [(0, 7, (1, 2, 10, 20))])
    with pytest.raises(ValueError, match=r"no category 'cats' \(near: cat\).* It has: dog, cat"):
        CocoDataset(path, [], classes=('cats',))
    with pytest.raises(ValueError, match='twice'):
        CocoDataset(path, [], classes=('cat', 'cat'))
    with pytest.raises(FileNotFoundError, match='single class'):
        CocoDataset(path, [], classes='cat')
    with pytest.raises(ValueError, match=r"no annotation of the classes \('dog',\)"):
        CocoDataset(path, [], classes=('dog',))
    assert len(CocoDataset(path, [], classes=('dog',), test_mode=True)) == 1


def test_classes_without_a_box_are_named(coco, caplog):
    path = coco([(40, 50)], [(0, 7, (1, 2, 10, 20))])
    CocoDataset(path, [], test_mode=True)
    assert 'has no box' not in caplog.text
    CocoDataset(path, [])
    assert 'has no box of 1 of the classes: dog' in caplog.text


def test_files_that_are_not_coco_are_errors(tmp_path, write_json):
    with pytest.raises(FileNotFoundError, match=r'nowhere\.json'):
        CocoDataset('nowhere.json', [], data_root=str(tmp_path))
    with pytest.raises(ValueError, match="no 'categories'"):
        CocoDataset(write_json(dict(images=[])), [])
    (tmp_path / 'broken.json').write_text('{"images": [')
    with pytest.raises(ValueError, match='not json'):
        CocoDataset(str(tmp_path / 'broken.json'), [])
    with pytest.raises(ValueError, match='no width and height'):
        CocoDataset(write_json(dict(images=[dict(id=1, file_name='a.png')], categories=[])), [])


@pytest.mark.parametrize(
    ('what', 'change', 'message'),
    [
        ('images', dict(file_name=None), "entry 0 of 'images' has no 'file_name'"),
        ('categories', dict(name=None), "entry 0 of 'categories' has no 'name'"),
        ('annotations', dict(image_id=None), "entry 0 of 'annotations' has no 'image_id'"),
        ('annotations', dict(category_id=None), "entry 0 of 'annotations' has no 'category_id'"),
        (
            'annotations',
            dict(bbox=None),
            r'bbox of annotation 1 \(image 100\) is None, expected \[x, y, width, height\]',
        ),
        ('annotations', dict(bbox=[1, 2, 3]), r'bbox of annotation 1 \(image 100\) is \[1, 2, 3\], expected'),
        ('annotations', dict(bbox=['1', '2', '3', '4']), r"bbox of annotation 1 \(image 100\) is \['1', "),
    ],
)
def test_incomplete_entries_are_named(coco, what, change, message):
    path = _changed(coco([(40, 50)], [(0, 7, (1, 2, 10, 20))]), what, change)
    with pytest.raises(ValueError, match=message):
        CocoDataset(path, [])


@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(metric=['bbox', 'proposal'], classwise=True),
        dict(metric='proposal_fast', proposal_nums=(5, 1)),
        dict(metric_items=['mAP_50', 'AR@10'], proposal_nums=(10,)),
    ],
)
def test_numbers_are_known_before_they_are_counted(coco, options):
    dataset = CocoDataset(coco([(40, 50)], [(0, 7, (1, 2, 10, 20))]), [])
    values = dataset.evaluate([detections([[1, 2, 11, 22]], [0])], **options)
    known = {name for name in values if not name.endswith('copypaste')}
    (metric,) = dataset.build_metrics(**options)
    assert set(metric.names) == known


@pytest.mark.parametrize('change', [dict(image_id=99), dict(category_id=99)])
def test_annotations_of_nothing_that_is_listed_are_counted(coco, caplog, change):
    path = coco([(40, 50)], [(0, 7, (1, 2, 10, 20)), (0, 7, (5, 5, 10, 10))])
    assert len(CocoDataset(_changed(path, 'annotations', change), []).get_ann_info(0)['bboxes']) == 1
    assert 'left out 1 annotations of images or categories that it does not list' in caplog.text


def _changed(path, what, change):
    """The file with other values in the first of its entries `what`; None takes a value away."""
    content = json.loads(Path(path).read_text())
    entry = {**content[what][0], **change}
    content[what][0] = {key: value for key, value in entry.items() if value is not None}
    with open(path, 'w') as file:
        json.dump(content, file)
    return path


def test_boxes_without_masks_are_no_lesson_for_a_mask_head(coco, caplog):
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_mask=True)]
    boxes = [(0, 7, (1, 2, 10, 20)), (0, 7, (5, 5, 10, 10))]
    path = coco([(40, 50)], boxes)
    with pytest.raises(ValueError, match=r'none of its 2 boxes has a mask \(segmentation\), and LoadAnnotations'):
        CocoDataset(path, pipeline)
    CocoDataset(path, pipeline, test_mode=True)
    CocoDataset(path, pipeline[:1])
    CocoDataset(coco([(40, 50)], [(*boxes[0], SQUARE), boxes[1]]), pipeline)
    assert '1 of 2 boxes have no mask' in caplog.text


def test_ids_that_occur_twice_are_errors(coco):
    path = coco([(40, 50)], [(0, 7, (1, 2, 10, 20)), (0, 7, (5, 5, 10, 10))])
    with pytest.raises(ValueError, match=r'1 ids of annotations .* \[5\]'):
        CocoDataset(_with_ids(path, [5, 5]), [])


def _with_ids(path, ids):
    content = json.loads(Path(path).read_text())
    for ann, number in zip(content['annotations'], ids):
        ann['id'] = number
    with open(path, 'w') as file:
        json.dump(content, file)
    return path


def test_categories_of_one_name_are_told_apart_by_use(coco):
    categories = ((0, 'cat'), (1, 'cat'), (2, 'dog'))
    dataset = CocoDataset(coco([(40, 50)], [(0, 1, (1, 2, 10, 20))], categories), [])
    assert dataset.CLASSES == ('cat', 'dog') and dataset.cat_ids == [1, 2]
    both = coco([(40, 50)], [(0, 1, (1, 2, 10, 20)), (0, 0, (1, 2, 10, 20))], categories)
    with pytest.raises(ValueError, match=r"\[0, 1\] have the same name 'cat'"):
        CocoDataset(both, [])


def test_crowds_are_ignored_and_useless_boxes_are_counted(coco, caplog):
    path = coco(
        [(40, 50)],
        [
            (0, 7, (1, 2, 10, 20), dict(iscrowd=1, area=200)),
            (0, 7, (0, 0, 10, 0.5)),  # thinner than a pixel
            (0, 7, (60, 5, 10, 10)),  # outside
            (0, 7, (5, 5, 10, 10), dict(area=0)),
            (0, 7, (5, 5, 10, 10), dict(ignore=True)),
            (0, 7, (45, 30, 20, 20)),  # partly inside, stays as it is
        ],
    )
    with caplog.at_level(logging.WARNING, 'mmkit'):
        dataset = CocoDataset(path, [])
    assert 'left out 3 boxes' in caplog.text
    ann = dataset.get_ann_info(0)
    assert ann['bboxes'].tolist() == [[45, 30, 65, 50]]
    assert ann['bboxes_ignore'].tolist() == [[1, 2, 11, 22]]


def test_training_leaves_out_empty_and_small_images(coco):
    path = coco([(40, 50), (40, 50), (20, 50)], [(0, 7, (1, 2, 10, 20)), (2, 7, (1, 2, 10, 10))])
    assert CocoDataset(path, []).img_ids == [100]
    assert CocoDataset(path, [], filter_empty_gt=False).img_ids == [100, 101]
    assert CocoDataset(path, [], min_size=10).img_ids == [100, 102]
    assert CocoDataset(path, [], test_mode=True).img_ids == [100, 101, 102]
    with pytest.raises(ValueError, match='none of its 3 images'):
        CocoDataset(path, [], min_size=100)


def test_the_table_at_start_counts_images_and_boxes(coco, caplog):
    with caplog.at_level(logging.INFO, 'mmkit'):
        CocoDataset(coco([(40, 50)], [(0, 7, (1, 2, 10, 20)), (0, 7, (5, 5, 10, 10))]), [])
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in caplog.text.splitlines() if '|' in line]
    assert rows == [['class', 'images', 'boxes'], ['dog', '0', '0'], ['cat', '1', '2']]


def test_evaluation_of_perfect_and_of_no_detections(coco):
    path = coco([(40, 50), (40, 50)], [(0, 7, (2, 2, 10, 10), SQUARE), (1, 3, (5, 5, 10, 10), SQUARE)])
    dataset = CocoDataset(path, [], test_mode=True, classes=('cat', 'dog'))
    mask = np.zeros((1, 40, 50), np.uint8)
    mask[0, 2:12, 2:12] = 1
    perfect = [
        detections([[2, 2, 12, 12]], [0], masks=EncodedMasks.from_bitmaps(mask)),
        detections([[5, 5, 15, 15]], [1], masks=EncodedMasks.from_bitmaps(mask)),
    ]
    values = dataset.evaluate(perfect, ['bbox', 'segm', 'proposal_fast'], classwise=True)
    for name in ('bbox_mAP', 'segm_mAP_50', 'AR@100', 'bbox_mAP/cat'):
        assert values[name] == pytest.approx(1), name
    empty = [Instances.empty(), Instances.empty()]
    assert dataset.evaluate(empty)['bbox_mAP'] == 0
    assert dataset.evaluate(empty, metric_items=['mAP_50'], engine='pycocotools')['bbox_mAP_50'] == 0
    swapped = [detections([[2, 2, 12, 12]], [1]), detections([[5, 5, 15, 15]], [0])]
    assert dataset.evaluate(swapped)['bbox_mAP'] == 0
    proposals = [Instances(out.bboxes, scores=out.scores) for out in swapped]
    assert dataset.evaluate(proposals, 'proposal')['AR@100'] == pytest.approx(1)


def test_evaluation_says_what_does_not_fit(coco):
    dataset = CocoDataset(coco([(40, 50)], [(0, 7, (2, 2, 10, 10))]), [], test_mode=True)
    with pytest.raises(ValueError, match='2 images for a dataset of 1'):
        dataset.evaluate([Instances.empty()] * 2)
    with pytest.raises(ValueError, match='labels 2..2, the dataset has 2 classes'):
        dataset.evaluate([detections([[0, 0, 5, 5]], [2])])
    with pytest.raises(ValueError, match=r"'segm' compares masks, and none of the 1 objects of .*ann.json has a mask"):
        dataset.evaluate([detections([[0, 0, 5, 5]], [0])], 'segm')
    dataset = CocoDataset(coco([(40, 50)], [(0, 7, (2, 2, 10, 10), SQUARE)]), [], test_mode=True)
    with pytest.raises(ValueError, match='needs detections with masks'):
        dataset.evaluate([detections([[0, 0, 5, 5]], [0])], 'segm')


def test_detections_are_written_in_the_result_format(coco, tmp_path):
    dataset = CocoDataset(coco([(40, 50)], [(0, 7, (2, 2, 10, 10))]), [], test_mode=True)
    mask = EncodedMasks.from_bitmaps(np.ones((1, 40, 50), np.uint8))
    paths = dataset.format_outputs([detections([[2, 3, 12, 14]], [1], [0.5], mask)], str(tmp_path / 'out'))
    assert sorted(paths) == ['bbox', 'segm']
    (entry,) = json.loads((tmp_path / 'out.bbox.json').read_text())
    assert entry == dict(image_id=100, bbox=[2, 3, 10, 11], score=0.5, category_id=7)
    (entry,) = json.loads((tmp_path / 'out.segm.json').read_text())
    assert entry['segmentation']['size'] == [40, 50] and isinstance(entry['segmentation']['counts'], str)
    proposals = [Instances(torch.tensor([[2.0, 3, 12, 14]]), scores=torch.tensor([0.5]))]
    assert list(dataset.format_outputs(proposals, str(tmp_path / 'rpn'))) == ['proposal']


def test_images_lie_where_the_file_says_also_absolutely(make_images, coco, test_pipeline):
    folder = make_images((40, 50))
    path = coco([(40, 50)], [(0, 7, (2, 2, 10, 10))])
    cfg = dict(type='CocoDataset', ann_file='ann.json', data_root=str(folder), pipeline=test_pipeline)
    sample = build_dataset(cfg, dict(test_mode=True))[0]
    assert sample.meta.img_id == 100 and sample.meta.ori_filename == '0.png'
    assert sample.meta.filename == str(folder / '0.png')
    content = json.loads(Path(path).read_text())
    content['images'][0]['file_name'] = str(folder / '0.png')
    (folder / 'absolute.json').write_text(json.dumps(content))
    absolute = CocoDataset(str(folder / 'absolute.json'), test_pipeline, img_prefix='/nowhere', test_mode=True)
    assert absolute[0].meta.filename == str(folder / '0.png')


def test_other_file_clients_are_refused(coco):
    path = coco([(40, 50)], [(0, 7, (2, 2, 10, 10))])
    with pytest.raises(ValueError, match='petrel'):
        CocoDataset(path, [], file_client_args=dict(backend='petrel'))
    CocoDataset(path, [], file_client_args=dict(backend='disk'))
