"""Samplers that configs of 3.x name."""

from __future__ import annotations

import numpy as np
import pytest

from mmkit.datasets import DistributedSampler, GroupSampler, SeededDataset, build_dataloader
from mmkit.datasets.data_samplers import SampledData, build_batch_sampler, build_sampler
from mmkit.engine.loading import set_epoch, without_first
from mmkit.errors import UserError


class Flags(SeededDataset):
    def __init__(self, *flag):
        super().__init__()
        self.flag = np.array(flag, dtype=np.uint8)

    def __len__(self):
        return len(self.flag)


def batches_of(source, drop_last=False, epoch=0, **sampler):
    order = build_sampler(dict(type='DefaultSampler', **sampler), source)
    made = build_batch_sampler(dict(type='AspectRatioBatchSampler', drop_last=drop_last), order, source)
    made.set_epoch(epoch)
    batches = list(made)
    assert len(made) == len(batches)
    return batches


def test_groups_that_divide_evenly_have_the_order_of_2x():
    dataset = Flags(*[0, 1, 1] * 8)
    usual = GroupSampler(dataset, 4, seed=3)
    usual.set_epoch(2)
    batches = batches_of(SampledData(dataset, 4, seed=3), epoch=2)
    assert np.concatenate(batches).tolist() == list(usual)


def test_left_over_images_share_the_last_batches():
    dataset = Flags(*[0] * 6, *[1] * 5)
    batches = batches_of(SampledData(dataset, 4, seed=0))
    assert [len(batch) for batch in batches] == [4, 4, 3]
    assert sorted(np.concatenate(batches)) == list(range(11))
    assert all(len(set(dataset.flag[batch])) == 1 for batch in batches[:2])
    assert sorted(dataset.flag[batches[2]]) == [0, 0, 1]
    assert len(batches_of(SampledData(dataset, 4), drop_last=True)) == 2


def test_processes_share_the_steps_of_one():
    dataset = Flags(*[0] * 6, *[1] * 5)
    parts = [batches_of(SampledData(dataset, 2, 2, rank, seed=5)) for rank in range(2)]
    whole = batches_of(SampledData(dataset, 4, seed=5))
    steps = [left + right for left, right in zip(*parts, strict=True)]
    assert steps[:2] == whole[:2] and len(steps) == 3
    assert set(steps[2]) == set(whole[2]) and [len(part[2]) for part in parts] == [2, 2]


def test_an_unshuffled_stream_is_grouped_as_it_comes():
    batches = batches_of(SampledData(Flags(0, 1, 0, 1, 1, 0, 0), 2), shuffle=False)
    assert batches == [[0, 2], [1, 3], [5, 6], [4]]


@pytest.mark.parametrize('shuffle', [True, False])
def test_the_default_order_is_that_of_2x(shuffle):
    dataset = Flags(*[0] * 7)
    for rank in range(2):
        usual = DistributedSampler(dataset, 2, rank, shuffle, seed=4)
        sampler = build_sampler(dict(type='DefaultSampler', shuffle=shuffle), SampledData(dataset, 1, 2, rank, seed=4))
        assert list(sampler) == list(usual) and len(sampler) == len(usual) == 4
    own_seed = build_sampler(dict(type='DefaultSampler', seed=4), SampledData(dataset, seed=9))
    assert list(own_seed) == list(DistributedSampler(dataset, 1, 0, seed=4))


def test_without_rounding_no_image_comes_twice():
    parts = [
        build_sampler(dict(type='DefaultSampler', shuffle=False, round_up=False), SampledData(Flags(*[0] * 5), 1, 2, r))
        for r in range(2)
    ]
    assert [list(part) for part in parts] == [[0, 2, 4], [1, 3]] and [len(part) for part in parts] == [3, 2]


def test_infinite_passes_are_cut_into_whole_batches():
    dataset = Flags(*[0] * 5)
    sampler = build_sampler(dict(type='InfiniteSampler'), SampledData(dataset, batch_size=2, seed=1))
    stream = []
    for epoch in range(5):
        sampler.set_epoch(epoch)
        assert len(list(sampler)) == len(sampler) == 6
        stream += list(sampler)
    passes = np.reshape(stream, (6, 5))
    assert (np.sort(passes) == np.arange(5)).all() and len({tuple(each) for each in passes}) > 1


def test_a_loader_has_the_sampler_of_its_config():
    dataset = Flags(*[0] * 4, *[1] * 3)
    loader = build_dataloader(
        dataset,
        samples_per_gpu=2,
        workers_per_gpu=0,
        seed=0,
        sampler=dict(type='DefaultSampler', shuffle=True),
        batch_sampler=dict(type='AspectRatioBatchSampler'),
    )
    assert len(loader) == 4 and list(loader.batch_sampler) == batches_of(SampledData(dataset, 2))
    plain = build_dataloader(dataset, 2, 0, seed=0, sampler=dict(type='InfiniteSampler', shuffle=False))
    assert list(plain.sampler) == [*range(7), 0] and plain.batch_size == 2
    with pytest.raises(UserError, match='AspectRatioBatchSampler'):
        build_dataloader(dataset, 2, 0, seed=0, sampler=dict(type='AspectRatioBatchSampler'))


def test_the_rest_of_an_interrupted_epoch():
    loader = build_dataloader(
        Flags(*[0] * 6, *[1] * 5), 2, 0, seed=0, batch_sampler=dict(type='AspectRatioBatchSampler'), shuffle=True
    )
    set_epoch(loader, 3)
    whole = list(loader.batch_sampler)
    rest = without_first(loader, 2)
    assert list(rest.batch_sampler) == whole[2:] and len(rest) == 4
    set_epoch(loader, 4)
    assert list(loader.batch_sampler) != whole


def test_a_last_batch_may_be_left_out():
    group = dict(type='AspectRatioBatchSampler')
    loader = build_dataloader(Flags(*[0] * 5), 2, 0, seed=0, drop_last=True, batch_sampler=group)
    assert len(loader) == len(list(loader.batch_sampler)) == 2
    kept = build_dataloader(Flags(*[0] * 5), 2, 0, seed=0, drop_last=True, batch_sampler={**group, 'drop_last': False})
    assert len(kept) == 3
