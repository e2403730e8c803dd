"""Datasets with formats, classes or names of files of their own."""

from __future__ import annotations

import json

import pytest

from mmkit.datasets import (
    BaseDetDataset,
    CityscapesDataset,
    CrowdHumanDataset,
    LVISV05Dataset,
    Objects365V2Dataset,
    WIDERFaceDataset,
    build_dataset,
)
from mmkit.errors import InvalidValueError, MissingFileError


def test_crowds_alone_are_no_objects_in_cityscapes(coco):
    classes = enumerate(CityscapesDataset.CLASSES)
    path = coco([(40, 60)] * 3, [(0, 2, (1, 2, 9, 8)), (1, 2, (1, 2, 9, 8), dict(iscrowd=1))], classes)
    assert CityscapesDataset(path, []).img_ids == [100]
    assert CityscapesDataset(path, [], filter_empty_gt=False).img_ids == [100, 101, 102]
    assert len(CityscapesDataset.PALETTE) == 8


def test_names_of_files(write_json):
    def dataset(kind, image):
        image = dict(id=1, width=60, height=40, **image)
        ann = dict(id=1, image_id=1, category_id=5, bbox=[1, 2, 9, 8], area=72, iscrowd=0)
        content = dict(images=[image], annotations=[ann], categories=[dict(id=5, name='cat')])
        made = build_dataset(dict(type=kind, ann_file=write_json(content), pipeline=[]))
        return made.images[0]['filename']

    url = dict(coco_url='http://images.cocodataset.org/val2017/000000397133.jpg')
    assert dataset('LVISV1Dataset', url) == 'val2017/000000397133.jpg'
    assert dataset('LVISV05Dataset', dict(file_name='COCO_val2014_000000001268.jpg')) == '000000001268.jpg'
    assert dataset('Objects365V2Dataset', dict(file_name='images/v1/patch8/objects365_v1_1.jpg')) == (
        'patch8/objects365_v1_1.jpg'
    )
    assert dataset('V3DetDataset', dict(file_name='a/b.jpg')) == 'a/b.jpg'
    assert LVISV05Dataset.CLASSES is Objects365V2Dataset.CLASSES is None


def test_people_in_crowds(make_images, tmp_path):
    folder = make_images((40, 60), (30, 20))
    for number in range(2):
        (folder / f'{number}.png').rename(folder / f'{number}.jpg')  # readers look into the file
    boxes = [
        dict(tag='person', fbox=[1, 2, 10, 20], extra={}),
        dict(tag='person', fbox=[3, 4, 5, 6], extra=dict(ignore=1)),
        dict(tag='mask', fbox=[0, 0, 9, 9]),
    ]
    lines = [json.dumps(dict(ID=str(number), gtboxes=boxes[: 3 - 2 * number])) for number in range(2)]
    path = tmp_path / 'a.odgt'
    path.write_text('\n'.join(lines))
    dataset = CrowdHumanDataset(str(path), [], img_prefix=str(folder), test_mode=True)
    assert [(image['width'], image['height']) for image in dataset.images] == [(60, 40), (20, 30)]
    ann = dataset.get_ann_info(0)
    assert ann['bboxes'].tolist() == [[1, 2, 11, 22]] and ann['bboxes_ignore'].tolist() == [[3, 4, 8, 10], [0, 0, 9, 9]]
    assert dataset.img_ids == ['0', '1'] and dataset.get_cat_ids(1) == [0]
    path.write_text('{"ID": "7", "gtboxes": []}')
    with pytest.raises(MissingFileError, match='7.jpg'):
        CrowdHumanDataset(str(path), [], img_prefix=str(folder))
    path.write_text('{"id": 7}')
    with pytest.raises(InvalidValueError, match='format of CrowdHuman'):
        CrowdHumanDataset(str(path), [], img_prefix=str(folder))


def test_faces_are_in_the_folder_that_their_xml_names(tmp_path):
    box = '<bndbox><xmin>5</xmin><ymin>6</ymin><xmax>15</xmax><ymax>20</ymax></bndbox>'
    (tmp_path / 'Annotations').mkdir()
    (tmp_path / 'Annotations' / 'a.xml').write_text(
        '<annotation><folder>0--Parade</folder><size><width>60</width><height>40</height></size>'
        f'<object><name>face</name>{box}</object></annotation>'
    )
    (tmp_path / 'val.txt').write_text('a\n')
    dataset = WIDERFaceDataset(str(tmp_path / 'val.txt'), [], img_prefix=str(tmp_path))
    assert dataset.images[0]['filename'] == '0--Parade/a.jpg' and dataset.CLASSES == ('face',)
    assert len(WIDERFaceDataset(str(tmp_path / 'val.txt'), [], img_prefix=str(tmp_path), min_image_size=40)) == 1
    with pytest.raises(InvalidValueError, match='left to train on'):
        WIDERFaceDataset(str(tmp_path / 'val.txt'), [], img_prefix=str(tmp_path), min_image_size=41)


def test_the_annotation_file_of_openmmlab_2(write_json):
    instances = [
        dict(bbox=[1, 2, 10, 20], bbox_label=1, ignore_flag=0),
        dict(bbox=[3, 4, 5, 6], bbox_label=0, ignore_flag=1),
    ]
    entry = dict(img_path='a.jpg', width=60, height=40, instances=instances, seg_map_path='maps/a.png')
    path = write_json(dict(metainfo=dict(classes=['cat', 'dog']), data_list=[entry]))
    dataset = BaseDetDataset(path, [])
    ann = dataset.get_ann_info(0)
    assert dataset.CLASSES == ('cat', 'dog') and dataset.images[0]['filename'] == 'a.jpg'
    assert ann['bboxes'].tolist() == [[1, 2, 10, 20]] and ann['labels'].tolist() == [1]
    assert ann['bboxes_ignore'].tolist() == [[3, 4, 5, 6]] and ann['seg_map'] == 'maps/a.png'
    assert BaseDetDataset(path, [], classes=('a', 'b')).CLASSES == ('a', 'b')
    for content, reason in (([], "'metainfo' and 'data_list'"), (dict(data_list=[{}]), "lacks 'width'")):
        with pytest.raises(InvalidValueError, match=reason):
            BaseDetDataset(write_json(content, 'b.json'), [])
