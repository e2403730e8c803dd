"""Samplers that choose by class or by dataset."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mmkit.datasets import ConcatDataset, SeededDataset
from mmkit.datasets.data_samplers import SampledData, build_sampler
from mmkit.errors import UserError


class Labelled(SeededDataset):
    def __init__(self, labels, flag=None):
        super().__init__()
        self.labels = labels
        self.flag = np.zeros(len(labels), np.uint8) if flag is None else np.array(flag, np.uint8)

    def __len__(self):
        return len(self.labels)

    def get_cat_ids(self, index):
        return self.labels[index]


def orders(cfg, dataset, batch_size=1, num_replicas=1, epoch=0):
    """The images of every process."""
    parts = []
    for rank in range(num_replicas):
        sampler = build_sampler(cfg, SampledData(dataset, batch_size, num_replicas, rank, seed=1))
        sampler.set_epoch(epoch)
        assert list(sampler) == list(sampler) and len(list(sampler)) == len(sampler)
        parts.append(list(sampler))
    return parts


def test_classes_are_seen_as_often():
    dataset = Labelled([[0]] * 17 + [[1], [], [0, 2]])  # class 1 is in one image of 20
    (order,) = orders(dict(type='ClassAwareSampler'), dataset)
    counts = Counter(order)
    assert len(order) == 20 and counts[17] >= 6 and counts[19] >= 6 and counts[18] == 0
    (pairs,) = orders(dict(type='ClassAwareSampler', num_sample_class=2), Labelled([[0], [0], [1], [1]] * 2))
    assert all((a % 4 < 2) == (b % 4 < 2) for a, b in np.reshape(pairs, (-1, 2)))
    left, right = orders(dict(type='ClassAwareSampler'), dataset, num_replicas=2)
    assert [index for pair in zip(left, right) for index in pair] == order
    assert orders(dict(type='ClassAwareSampler'), dataset, epoch=1) != [order]
    with pytest.raises(UserError, match='num_sample_class'):
        orders(dict(type='ClassAwareSampler', num_sample_class=0), dataset)


@pytest.fixture
def both():
    """100 labelled and 900 unlabelled images, a quarter of them wide."""
    flag = [1, 0, 0, 0]
    return ConcatDataset([Labelled([[0]] * 100, flag * 25), Labelled([[]] * 900, flag * 225)])


def test_datasets_in_proportions(both):
    (order,) = orders(dict(type='MultiDataSampler', dataset_ratio=[1, 1]), both)
    assert len(order) == 1000 and 400 < sum(index < 100 for index in order) < 600
    assert len(orders(dict(type='MultiDataSampler', dataset_ratio=[1, 3]), both, num_replicas=3)[2]) == 334
    for ratio in ([1], [0, 0], [1, -1]):
        with pytest.raises(UserError, match='dataset_ratio'):
            orders(dict(type='MultiDataSampler', dataset_ratio=ratio), both)
    with pytest.raises(UserError, match='ConcatDataset, got a Labelled'):
        orders(dict(type='MultiDataSampler', dataset_ratio=[1]), both.datasets[0])


@pytest.mark.parametrize('num_replicas', [1, 2])
def test_batches_of_labelled_and_unlabelled_images(both, num_replicas):
    cfg = dict(type='GroupMultiSourceSampler', batch_size=5, source_ratio=[1, 4])
    parts = orders(cfg, both, batch_size=5, num_replicas=num_replicas)
    batches = np.concatenate([np.reshape(part, (-1, 5)) for part in parts])
    assert len(batches) == 100  # each labelled image once, about
    assert (batches[:, 0] < 100).all() and (batches[:, 1:] >= 100).all()
    assert all(len(set(both.flag[batch])) == 1 for batch in batches)
    assert 10 < sum(both.flag[batch[0]] for batch in batches) < 40
    mixed = orders(
        dict(type='MultiSourceSampler', batch_size=4, source_ratio=[2, 2], shuffle=False), both, batch_size=4
    )
    assert mixed[0][:8] == [0, 1, 100, 101, 2, 3, 102, 103]


def test_batches_that_cannot_be(both):
    with pytest.raises(UserError, match='batch_size=4, the loader 5'):
        orders(dict(type='MultiSourceSampler', batch_size=4, source_ratio=[1, 1]), both, batch_size=5)
    apart = ConcatDataset([Labelled([[0]], [1]), Labelled([[0]], [0])])
    with pytest.raises(UserError, match='no group of images'):
        orders(dict(type='GroupMultiSourceSampler', batch_size=2, source_ratio=[1, 1]), apart, batch_size=2)


def test_repeated_images_go_to_different_processes():
    parts = orders(dict(type='RepeatAugSampler', selected_round=0), Labelled([[0]] * 12), num_replicas=3)
    assert [len(part) for part in parts] == [4, 4, 4] and parts[0] == parts[1] == parts[2]
    (rounded,) = orders(dict(type='RepeatAugSampler', shuffle=False, selected_round=5), Labelled([[0]] * 12))
    assert rounded == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]
