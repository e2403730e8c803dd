from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader

from mmkit.engine.loading import set_epoch, without_first


class Squares(torch.utils.data.Dataset):
    def __init__(self):
        self.asked = []
        self.epoch = None

    def __len__(self):
        return 5

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __getitem__(self, index):
        self.asked.append(index)
        return index * index


@pytest.mark.parametrize(('count', 'expected'), [(0, [[0, 1], [4, 9], [16]]), (1, [[4, 9], [16]]), (3, [])])
def test_first_batches_are_left_out_and_not_loaded(count, expected):
    dataset = Squares()
    batches = without_first(DataLoader(dataset, batch_size=2, collate_fn=list), count)
    assert len(batches) == len(expected) and list(batches) == expected
    assert dataset.asked == list(range(5))[2 * count :]


def test_any_iterable_will_do():
    assert list(without_first([1, 2, 3], 2)) == [3]


def test_the_epoch_reaches_every_part_that_asks_for_it():
    dataset = Squares()
    set_epoch(DataLoader(dataset), 4)
    assert dataset.epoch == 4
    set_epoch([1, 2], 4)
