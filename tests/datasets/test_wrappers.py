from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from mmkit.datasets import (
    ClassBalancedDataset,
    ConcatDataset,
    CustomDataset,
    MultiImageMixDataset,
    RepeatDataset,
    SeededDataset,
    build_dataset,
)
from mmkit.registry import PIPELINES
from mmkit.structures import Instances


class Numbers(SeededDataset):
    """Sample i is dict(number=first + i), image i has the labels `labels[i]`."""

    CLASSES = ('a', 'b')

    def __init__(self, labels, first=0):
        super().__init__()
        self.labels = labels
        self.first = first
        self.flag = np.arange(len(labels), dtype=np.uint8) % 2

    def __len__(self):
        return len(self.labels)

    def get(self, index, rng):
        return dict(number=self.first + index, rng=rng)

    def get_cat_ids(self, index):
        return self.labels[index]


def numbers(dataset):
    return [dataset[i]['number'] for i in range(len(dataset))]


def test_concat_goes_through_one_after_the_other():
    dataset = ConcatDataset([Numbers([[0], [1]]), Numbers([[0, 1]], first=10), Numbers([[1], [1]], first=20)])
    assert numbers(dataset) == [0, 1, 10, 20, 21]
    assert dataset.flag.tolist() == [0, 1, 0, 0, 1]
    assert dataset.get_cat_ids(2) == [0, 1]
    assert dataset.CLASSES == ('a', 'b')


def test_concat_refuses_nothing_and_other_classes():
    other = Numbers([[0]])
    other.CLASSES = ('c',)
    with pytest.raises(ValueError, match='dataset 1 has the classes'):
        ConcatDataset([Numbers([[0]]), other])
    with pytest.raises(ValueError, match='no datasets'):
        ConcatDataset([])
    with pytest.raises(TypeError, match='got list'):
        ConcatDataset([[1, 2]])


def test_repeat():
    dataset = RepeatDataset(Numbers([[0], [1]]), 2)
    assert numbers(dataset) == [0, 1, 0, 1]
    assert dataset.get_cat_ids(3) == [1]
    assert dataset[0]['rng'].random() != dataset[2]['rng'].random()


def test_rare_classes_are_repeated():
    # class 1 is in 1 of 4 images; with a threshold of 0.9 it asks for sqrt(0.9 / 0.25) = 1.9 repetitions
    dataset = ClassBalancedDataset(Numbers([[0], [0], [0, 1], [0]]), oversample_thr=0.9)
    assert numbers(dataset) == [0, 1, 2, 2, 3]
    assert dataset.flag.tolist() == [0, 1, 0, 0, 1]
    assert dataset.get_cat_ids(3) == [0, 1]


def test_images_without_objects_are_a_class_if_wanted():
    labels = [[0], [0], [0], []]
    # class 0: sqrt(0.5 / 0.75) < 1, no class: sqrt(0.5 / 0.25) = 1.4
    assert numbers(ClassBalancedDataset(Numbers(labels), 0.5)) == [0, 1, 2, 3]
    assert numbers(ClassBalancedDataset(Numbers(labels), 0.5, filter_empty_gt=False)) == [0, 1, 2, 3, 3]


def middle(write_json, name):
    ann = dict(bboxes=[[2, 2, 12, 12]], labels=[0])
    return write_json([dict(filename='x.png', width=50, height=40, ann=ann)], name)


def test_lists_in_a_config_are_concatenated(write_json):
    paths = [middle(write_json, 'a.json'), middle(write_json, 'b.json')]
    cfg = dict(type='CustomDataset', ann_file=paths, img_prefix=['p', 'q'], classes=('cat',), pipeline=[])
    dataset = build_dataset(cfg, dict(test_mode=True))
    assert [part.img_prefix for part in dataset.datasets] == ['p', 'q']
    assert all(part.test_mode for part in dataset.datasets)
    assert cfg['ann_file'] == paths
    assert len(build_dataset([{**cfg, 'ann_file': path, 'img_prefix': ''} for path in paths])) == 2
    with pytest.raises(ValueError, match='img_prefix has 1 entries, ann_file has 2'):
        build_dataset({**cfg, 'img_prefix': ['p']})
    single = {**cfg, 'ann_file': paths[0], 'img_prefix': ''}
    wrapped = build_dataset(dict(type='RepeatDataset', times=3, dataset=single), dict(test_mode=True))
    assert len(wrapped) == 3 and wrapped.dataset.test_mode
    assert isinstance(single, dict) and build_dataset(wrapped) is wrapped


def test_concat_evaluates_apart_or_together(write_json):
    paths = [middle(write_json, 'a.json'), middle(write_json, 'b.json')]
    parts = [CustomDataset(path, [], classes=('cat',), test_mode=True) for path in paths]
    right = Instances(torch.tensor([[2.0, 2, 12, 12]]), torch.tensor([0]), torch.tensor([0.9]))
    outputs = [right, Instances.empty()]
    apart = ConcatDataset(parts).evaluate(outputs, metric='mAP')
    assert apart['0_mAP'] == pytest.approx(1) and apart['1_mAP'] == 0
    assert ConcatDataset(parts, separate_eval=False).evaluate(outputs)['mAP'] == pytest.approx(0.5)
    with pytest.raises(ValueError, match='Numbers is not evaluated with others'):
        ConcatDataset([Numbers([[0]]), Numbers([[0]])], separate_eval=False).evaluate(outputs)


class Sum:
    """Adds the numbers of two images that it draws."""

    def get_indexes(self, dataset, rng):
        return [int(index) for index in rng.integers(len(dataset), size=2)]

    def __call__(self, sample):
        others = [other['number'] for other in sample['mix_results']]
        return {**sample, 'number': sample['number'] + sum(others), 'others': others}


class Last:
    def get_indexes(self, dataset):
        return len(dataset) - 1

    def __call__(self, sample):
        return {**sample, 'last': sample['mix_results'][0]['number']}


def test_mix_hands_over_more_images():
    dataset = MultiImageMixDataset(Numbers([[0]] * 10), [Sum(), Last()])
    sample = dataset[3]
    assert sample['number'] == 3 + sum(sample['others'])
    assert sample['last'] == 9 and 'mix_results' not in sample
    assert dataset[3]['others'] == sample['others'] != dataset[4]['others']
    assert len(dataset) == 10 and dataset.get_cat_ids(0) == [0]
    rng = np.random.default_rng(0)
    sent = pickle.loads(pickle.dumps(dataset._choosers))  # as to a worker that is spawned
    assert [choose(range(10), rng) for choose in sent] == [[8, 6], 9]


def test_mix_wants_samples_that_are_not_finished():
    class Finished(Numbers):
        def get(self, index, rng):
            return object()

    with pytest.raises(
        TypeError, match=r'Sum mixes the dicts of a pipeline, got a object: DefaultFormatBundle and Collect belong'
    ):
        MultiImageMixDataset(Finished([[0]]), [Sum()])[0]


def test_mix_leaves_steps_out():
    dataset = MultiImageMixDataset(Numbers([[0]] * 10), [Sum(), Last()], skip_type_keys=['Sum'])
    assert dataset[3]['number'] == 3 and 'last' in dataset[3]
    dataset.update_skip_type_keys(['Last'])
    assert 'others' in dataset[3] and 'last' not in dataset[3]
    with pytest.raises(ValueError, match="'Mosaik'"):
        dataset.update_skip_type_keys(['Mosaik'])


def test_mix_does_not_need_every_step_that_may_be_left_out():
    """YOLOX's hook names MixUp, which the pipelines of its small models don't have."""
    dataset = MultiImageMixDataset(Numbers([[0]] * 10), [Sum(), Last()])
    dataset.update_skip_type_keys(['Sum', 'MixUp'])
    assert dataset[3]['number'] == 3


def test_mix_tries_again_and_gives_up():
    calls = []

    def rarely(sample):
        calls.append(sample['rng'].random())
        sample['number'] = -1
        return dict(number=len(calls)) if len(calls) == 3 else None

    assert MultiImageMixDataset(Numbers([[0]]), [rarely])[0]['number'] == 3
    assert len(set(calls)) == 3
    with pytest.raises(RuntimeError, match='gave None 4 times'):
        MultiImageMixDataset(Numbers([[0]]), [lambda sample: None], max_refetch=4)[0]


def test_mix_builds_its_steps_and_refuses_dynamic_scale():
    @PIPELINES.register_module(force=True)
    class AddOne:
        def __call__(self, sample):
            return {**sample, 'number': sample['number'] + 1}

    cfg = dict(type='MultiImageMixDataset', dataset=Numbers([[0]]), pipeline=[dict(type='AddOne')])
    assert build_dataset(cfg)[0]['number'] == 1
    with pytest.raises(ValueError, match='dynamic_scale'):
        MultiImageMixDataset(Numbers([[0]]), [], dynamic_scale=(640, 640))
