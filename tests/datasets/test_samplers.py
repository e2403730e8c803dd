from __future__ import annotations

import numpy as np
import pytest

from mmkit.datasets import DistributedGroupSampler, DistributedSampler, GroupSampler, SeededDataset


class Flags(SeededDataset):
    def __init__(self, *flag):
        super().__init__()
        self.flag = np.array(flag, dtype=np.uint8)

    def __len__(self):
        return len(self.flag)


def test_batches_are_of_one_group_and_everything_is_seen():
    dataset = Flags(*[0] * 5, *[1] * 8)
    sampler = GroupSampler(dataset, samples_per_gpu=4, seed=1)
    order = list(sampler)
    assert len(order) == len(sampler) == 16
    assert set(order) == set(range(13))
    for batch in np.reshape(order, (-1, 4)):
        assert len(set(dataset.flag[batch])) == 1


def test_the_order_is_a_function_of_seed_and_epoch():
    sampler = GroupSampler(Flags(*[0] * 9), 2, seed=1)
    first = list(sampler)
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert int(sampler.dataset._epoch) == 1
    sampler.set_epoch(0)
    assert list(sampler) == first
    assert list(GroupSampler(Flags(*[0] * 9), 2, seed=2)) != first


@pytest.mark.parametrize('shuffle', [True, False])
@pytest.mark.parametrize('grouped', [True, False])
def test_two_processes_share_the_steps_of_one(shuffle, grouped):
    """The images of each step are those of one process with the double batch."""
    dataset = Flags(*[0] * 5, *[1] * 8)

    def steps(num_replicas):
        size = 4 // num_replicas
        if grouped:
            parts = [DistributedGroupSampler(dataset, size, num_replicas, rank, seed=3) for rank in range(num_replicas)]
        else:
            parts = [DistributedSampler(dataset, num_replicas, rank, shuffle, seed=3) for rank in range(num_replicas)]
        assert len({len(part) for part in parts}) == 1
        columns = [np.array(list(part))[: len(part) // size * size].reshape(-1, size) for part in parts]
        return [sorted(step) for step in np.concatenate(columns, axis=1).tolist()]

    assert steps(2)[:3] == steps(1)[:3]


def test_tests_are_divided_in_order_and_filled_up():
    parts = [list(DistributedSampler(Flags(*[0] * 5), 2, rank, shuffle=False)) for rank in range(2)]
    assert parts == [[0, 2, 4], [1, 3, 0]]
    tiny = [list(DistributedSampler(Flags(0), 3, rank, shuffle=False)) for rank in range(3)]
    assert tiny == [[0], [0], [0]]
