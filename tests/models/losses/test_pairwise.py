from __future__ import annotations

import math

import pytest
import torch

from mmkit.models.losses.pairwise import disagreement, neighbours


def test_neighbours_row_by_row_without_the_middle():
    feats = torch.arange(1.0, 10).reshape(1, 1, 3, 3)
    assert neighbours(feats, 3, 1)[0, 0, :, 1, 1].tolist() == [1, 2, 3, 4, 6, 7, 8, 9]
    assert neighbours(feats, 3, 1)[0, 0, :, 0, 0].tolist() == [0, 0, 0, 0, 2, 0, 4, 5]
    assert neighbours(feats, 3, 2)[0, 0, :, 1, 1].tolist() == [0] * 8


def test_disagreement_of_two_probabilities():
    logits = torch.tensor([[[math.log(3), -math.log(4)]]])  # 3/4 and 1/5
    right = disagreement(logits, 3, 1)[0, 4, 0, 0]
    assert right.item() == pytest.approx(-math.log(3 / 4 * 1 / 5 + 1 / 4 * 4 / 5))
    assert disagreement(logits[:0], 3, 1).shape == (0, 8, 1, 2)
