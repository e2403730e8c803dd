from __future__ import annotations

import math

import torch

from mmkit.ops import sigmoid_focal_loss


def test_values_by_hand():
    loss = sigmoid_focal_loss(torch.zeros(2, 2), torch.tensor([1, 2]), gamma=2.0, alpha=0.25)
    negative, positive = 0.75 * 0.25 * math.log(2), 0.25 * 0.25 * math.log(2)
    assert torch.allclose(loss, torch.tensor([[negative, positive], [negative, negative]]))


def test_empty():
    assert sigmoid_focal_loss(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)).shape == (0, 3)
