from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from mmkit.datasets import VOCDataset, XMLDataset
from mmkit.structures import Instances

OBJECT = """<object><name>{name}</name><difficult>{difficult}</difficult>
<bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox></object>"""


@pytest.fixture
def voc(tmp_path):
    """Writes VOC files of images 50 wide and 40 high; objects are (name, xyxy, difficult)."""

    def write(*images, size='<size><width>50</width><height>40</height></size>', year='VOC2007'):
        root = tmp_path / year
        (root / 'Annotations').mkdir(parents=True)
        (root / 'JPEGImages').mkdir()
        for number, objects in enumerate(images):
            text = ''.join(OBJECT.format(*box, name=name, difficult=difficult) for name, box, difficult in objects)
            (root / f'Annotations/{number}.xml').write_text(f'<annotation>{size}{text}</annotation>')
            cv2.imwrite(str(root / f'JPEGImages/{number}.jpg'), np.zeros((40, 50, 3), np.uint8))
        (root / 'list.txt').write_text('\n'.join(str(number) for number in range(len(images))))
        return dict(ann_file=str(root / 'list.txt'), img_prefix=str(root), pipeline=[])

    return write


def test_boxes_count_from_zero_and_difficult_ones_are_ignored(voc):
    cfg = voc([('dog', (11, 11, 21, 31), 0), ('cat', (1, 1, 6, 6), 1), ('robot', (1, 1, 9, 9), 0)])
    dataset = VOCDataset(**cfg)
    ann = dataset.get_ann_info(0)
    assert ann['bboxes'].tolist() == [[10, 10, 20, 30]]
    assert [dataset.CLASSES[label] for label in ann['labels']] == ['dog']
    assert ann['bboxes_ignore'].tolist() == [[0, 0, 5, 5]]
    assert dataset.images[0]['filename'] == 'JPEGImages/0.jpg' and dataset.img_ids == ['0']
    assert dataset.flag.tolist() == [1]


def test_chosen_classes_and_small_objects(voc):
    cfg = voc([('dog', (11, 11, 21, 31), 0), ('cat', (1, 1, 6, 6), 0)], [('bird', (1, 1, 30, 30), 0)])
    dataset = XMLDataset(**cfg, classes=('cat', 'dog'), min_size=8)
    assert len(dataset) == 1
    assert dataset.get_cat_ids(0) == [1]
    assert dataset.get_ann_info(0)['bboxes_ignore'].tolist() == [[0, 0, 5, 5]]
    assert len(XMLDataset(**cfg, classes=('cat', 'dog'), test_mode=True)) == 2


def test_the_size_is_read_from_the_image_if_need_be(voc):
    dataset = VOCDataset(**voc([('dog', (11, 11, 21, 31), 0)], size=''))
    assert (dataset.images[0]['width'], dataset.images[0]['height']) == (50, 40)


def test_errors_name_the_file(voc, tmp_path):
    cfg = voc([('dog', (11, 11, 21, 31), 0)])
    with pytest.raises(ValueError, match='XMLDataset needs classes'):
        XMLDataset(**cfg)
    path = tmp_path / 'VOC2007/Annotations/0.xml'
    path.write_text('<annotation><object><name>dog</name></object></annotation>')
    with pytest.raises(ValueError, match=r"0\.xml: object 'dog' has no bndbox"):
        VOCDataset(**cfg)
    path.write_text('<annotation>')
    with pytest.raises(ValueError, match=r'cannot read .*0\.xml'):
        VOCDataset(**cfg)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r'0\.xml'):
        VOCDataset(**cfg)


@pytest.mark.parametrize(('year', 'expected'), [('VOC2007', 6 / 11), ('VOC2012', 0.5)])
def test_the_year_decides_on_the_metric(voc, year, expected):
    objects = [('dog', (11, 11, 21, 31), 0), ('dog', (31, 1, 41, 11), 0), ('dog', (1, 1, 6, 6), 1)]
    dataset = VOCDataset(**voc(objects, year=year), test_mode=True)
    bboxes = torch.tensor([[10.0, 10, 20, 30], [0, 0, 5, 5]])  # one right, one on the difficult object
    detections = Instances(bboxes, torch.tensor([11, 11]), torch.tensor([0.9, 0.8]))
    values = dataset.evaluate([detections])
    assert values['mAP'] == values['AP50'] == pytest.approx(expected, abs=1e-6)
    assert dataset.evaluate([detections], 'recall')['recall@100@0.5'] == pytest.approx(0.5)
