from __future__ import annotations

import logging
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from mmkit.datasets import CustomDataset, RepeatDataset, build_dataset
from mmkit.registry import DATASETS
from mmkit.structures import Instances


def middle(sizes, bboxes=((2, 2, 12, 12),)):
    return [
        dict(
            filename=f'{n}.png', height=h, width=w, ann=dict(bboxes=[list(b) for b in bboxes], labels=[0] * len(bboxes))
        )
        for n, (h, w) in enumerate(sizes)
    ]


@pytest.fixture
def make(make_images, write_json):
    """A dataset of random images of the given (height, width)."""

    def build(*sizes, pipeline=(), **arguments) -> CustomDataset:
        folder = make_images(*sizes)
        path = write_json(middle(sizes))
        return CustomDataset(path, list(pipeline), **{'classes': ('cat',), 'img_prefix': str(folder), **arguments})

    return build


def test_a_sample_of_training(make, train_pipeline):
    dataset = make((40, 50), (50, 40), pipeline=train_pipeline)
    sample = dataset[0]
    assert dataset.flag.tolist() == [1, 0]
    assert sample.img.dtype == torch.float32 and sample.img.shape[1] % 8 == sample.img.shape[2] % 8 == 0
    assert len(sample.gt) == 1 and sample.gt.labels.tolist() == [0]
    assert sample.meta.ori_shape == (40, 50)
    with pytest.raises(IndexError):
        dataset[2]


def test_annotations_are_two_arrays(make):
    dataset = make(*[(40, 50)] * 20)
    assert dataset.images.nbytes < 20 * 300
    assert dataset.images[-1]['filename'] == '19.png' == dataset.data_infos[19]['filename']
    with pytest.raises(IndexError):
        dataset.images[20]


def test_samples_are_functions_of_seed_epoch_and_index(make, train_pipeline):
    def shapes_and_sums(dataset):
        return [(sample.img.shape, float(sample.img.sum())) for sample in map(dataset.__getitem__, range(3))]

    dataset = make(*[(40, 50)] * 3, pipeline=train_pipeline)
    first = shapes_and_sums(dataset)
    np.random.seed(1)
    assert shapes_and_sums(dataset) == first
    dataset.set_epoch(1)
    second = shapes_and_sums(dataset)
    assert second != first
    dataset.set_epoch(0)
    assert shapes_and_sums(dataset) == first
    dataset.set_seed(5)
    assert shapes_and_sums(dataset) not in (first, second)


def test_global_generators_repeat_inside_and_go_on_outside(make):
    def draw(sample):
        return random.random(), np.random.rand(), sample['rng'].random()

    dataset = make((40, 50), pipeline=[draw])
    random.seed(3)
    expected = random.random()
    random.seed(3)
    first = dataset[0]
    assert random.random() == expected
    assert dataset[0] == first
    dataset.set_epoch(1)
    assert all(a != b for a, b in zip(dataset[0], first))


def test_a_repeated_image_is_augmented_anew(make, train_pipeline):
    dataset = RepeatDataset(make((40, 50), pipeline=train_pipeline), times=3)
    assert len(dataset) == 3 and dataset.flag.tolist() == [1, 1, 1]
    assert len({tuple(dataset[i].img.shape) for i in range(3)} | {float(dataset[i].img.sum()) for i in range(3)}) > 2


def test_a_broken_image_is_replaced_within_the_budget_and_counted(make, tmp_path, train_pipeline, caplog):
    dataset = make(*[(40, 50)] * 4, pipeline=train_pipeline, max_broken=2)
    (tmp_path / '0.png').write_bytes((tmp_path / '0.png').read_bytes()[:-50])
    (tmp_path / '1.png').unlink()
    with caplog.at_level(logging.WARNING, 'mmkit'):
        assert dataset[0].meta.ori_filename in ('2.png', '3.png')
        for _ in range(3):
            assert dataset[1].meta.ori_filename in ('2.png', '3.png')
    assert caplog.text.count('0.png') == caplog.text.count('1.png') == 1
    assert '2 of at most 2 broken images' in caplog.text
    (tmp_path / '2.png').write_bytes(b'')
    with pytest.raises(RuntimeError, match=r'3 images .* max_broken=2.*2\.png: the file is empty'):
        dataset[2]


def test_a_broken_image_stops_a_test(make, tmp_path, test_pipeline):
    dataset = make((40, 50), pipeline=test_pipeline, test_mode=True)
    (tmp_path / '0.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'0\.png'):
        dataset[0]


def test_none_from_the_pipeline_draws_another_image_of_the_group(make):
    def only_second(sample):
        return sample['img_info']['filename'] if sample['img_info']['filename'] == '2.png' else None

    dataset = make((40, 50), (50, 40), (40, 50), pipeline=[only_second])
    assert dataset[0] == '2.png'
    with pytest.raises(RuntimeError, match="no usable sample in 100 tries.*'1.png'"):
        dataset[1]


def test_what_is_missing_or_wrong(make, write_json):
    with pytest.raises(ValueError, match='no annotation'):
        CustomDataset(write_json(middle([(40, 50)], bboxes=())), [], classes=('cat',))
    wrong = middle([(40, 50)])
    wrong[0]['ann']['labels'] = [1]
    with pytest.raises(ValueError, match=r'labels 1\.\.1 for 1 classes'):
        CustomDataset(write_json(wrong), [], classes=('cat',))


def test_a_subclass_reads_its_own_format(tmp_path):
    @DATASETS.register_module(force=True)
    class Lines(CustomDataset):
        CLASSES = ('a', 'b')

        def load_annotations(self, ann_file):
            rows = [line.split() for line in Path(ann_file).read_text().splitlines()]
            return [
                dict(filename=row[0], width=64, height=64, ann=dict(bboxes=[[0, 0, 9, 9]], labels=[1])) for row in rows
            ]

    (tmp_path / 'list.txt').write_text('x.jpg\ny.jpg\n')
    dataset = build_dataset(dict(type='Lines', ann_file='list.txt', data_root=str(tmp_path), pipeline=[lambda s: s]))
    assert len(dataset) == 2
    assert dataset.get_cat_ids(1) == [1]
    sample = dataset[1]
    assert sample['img_info'] == dict(filename='y.jpg', width=64, height=64, id=1)
    assert sample['ann_info']['bboxes_ignore'].shape == (0, 4)
    assert sample['ann_info']['seg_map'] == 'y.png'


def test_proposals_come_with_their_image(make, write_json):
    rows = [[[0, 0, 5, 5, 0.9]], [[1, 1, 6, 6, 0.8], [0, 0, 5, 5, 0.1]]]
    path = write_json(rows, 'proposals.json')
    dataset = make((40, 50), (40, 50), pipeline=[lambda sample: sample], proposal_file=path)
    assert dataset[1]['proposals'].shape == (2, 5)
    with pytest.raises(ValueError, match='proposals of 2 images'):
        make((40, 50), proposal_file=path)


def test_map_and_recall(make):
    dataset = make((40, 50), (40, 50), test_mode=True)
    right = Instances(torch.tensor([[2.0, 2, 12, 12]]), torch.tensor([0]), torch.tensor([0.9]))
    values = dataset.evaluate([right, right], ['mAP', 'recall'], iou_thr=[0.5, 0.75])
    assert values['mAP'] == values['AP50'] == values['AP75'] == pytest.approx(1)
    assert values['recall@100@0.5'] == pytest.approx(1)
    assert dataset.evaluate([right, Instances.empty()])['mAP'] == pytest.approx(0.5)
    with pytest.raises(ValueError, match="'mAP' or 'recall', got 'bbox'"):
        dataset.evaluate([right, right], 'bbox')
    with pytest.raises(ValueError, match='labels and scores'):
        dataset.evaluate([Instances(right.bboxes)] * 2)


def test_the_method_of_3x_that_nothing_calls_is_refused():
    with pytest.raises(TypeError, match=r'Mine overrides load_data_list, which is load_annotations'):
        type('Mine', (CustomDataset,), {'load_data_list': lambda self: []})
