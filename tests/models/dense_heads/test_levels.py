from __future__ import annotations

import pytest
import torch

from mmkit.models.dense_heads.levels import (
    centerness,
    featmap_sizes,
    flatten_level,
    flatten_levels,
    probabilities,
    shared_factor,
)


def test_flatten_follows_the_order_of_priors():
    # Two anchors with two values each on a map of 1 x 2: channels are a0k0, a0k1, a1k0, a1k1.
    level = torch.tensor([[0, 10], [1, 11], [2, 12], [3, 13]]).view(1, 4, 1, 2)
    assert flatten_level(level, 2).tolist() == [[[0, 1], [2, 3], [10, 11], [12, 13]]]
    assert flatten_levels([level, level + 100], 4).tolist() == [
        [[0, 1, 2, 3], [10, 11, 12, 13], [100, 101, 102, 103], [110, 111, 112, 113]]
    ]
    assert featmap_sizes([level, torch.zeros(1, 1, 5, 3)]) == [(1, 2), (5, 3)]


def test_centerness_is_one_in_the_middle_and_falls_to_the_sides():
    result = centerness(torch.tensor([[2.0, 3, 2, 3], [1, 1, 4, 9], [0, 1, 4, 1]]))
    assert result.tolist() == pytest.approx([1, 1 / 6, 0])


@pytest.mark.parametrize('total, expected', [(3, 3), (0, 1), (torch.tensor(2.5), 2.5)])
def test_shared_factor_is_not_below_its_least(total, expected):
    assert shared_factor(total, torch.zeros(1)).item() == expected


def test_shared_factor_is_the_mean_over_processes(monkeypatch):
    monkeypatch.setattr('mmkit.models.dense_heads.levels.reduce_mean', lambda total: total / 2)  # the other has none
    assert shared_factor(6, torch.zeros(1)).item() == 3
    assert shared_factor(1, torch.zeros(1)).item() == 1


def test_probabilities_leave_the_background_out():
    assert probabilities(torch.zeros(1, 3), use_sigmoid=False).tolist() == [pytest.approx([1 / 3, 1 / 3])]
    assert probabilities(torch.zeros(1, 3), use_sigmoid=True).tolist() == [[0.5, 0.5, 0.5]]
