from __future__ import annotations

import torch

from mmkit.bbox.ranks import ranks_in_groups


def test_the_greatest_of_each_group_is_first():
    values = torch.tensor([0.1, 0.5, 0.3, 0.5, 0.2])
    assert ranks_in_groups(values, torch.tensor([7, 2, 7, 2, 7])).tolist() == [2, 0, 0, 1, 1]
    assert ranks_in_groups(values, torch.zeros(5, dtype=torch.long)).tolist() == [4, 0, 2, 1, 3]


def test_of_nothing():
    assert ranks_in_groups(torch.zeros(0), torch.zeros(0, dtype=torch.long)).tolist() == []
