from __future__ import annotations

import math

import pytest
import torch

from mmkit.models.losses import BalancedL1Loss, L1Loss, MSELoss, SmoothL1Loss

PRED = torch.tensor([[0.5, 2.0, 0.0, -3.0]])
ZERO = torch.zeros(1, 4)


def test_by_hand() -> None:
    assert L1Loss(reduction='sum')(PRED, ZERO) == 5.5
    assert MSELoss(reduction='none')(PRED, ZERO).tolist() == [[0.25, 4, 0, 9]]
    assert SmoothL1Loss(reduction='none')(PRED, ZERO).tolist() == [[0.125, 1.5, 0, 2.5]]
    torch.testing.assert_close(
        SmoothL1Loss(beta=4.0, reduction='none')(PRED, ZERO), torch.tensor([[0.25 / 8, 0.5, 0, 9 / 8]])
    )


def test_balanced_l1_branches_meet() -> None:
    loss = BalancedL1Loss(alpha=0.5, gamma=1.5, beta=1.0, reduction='none')
    b = math.exp(3) - 1
    inside = 0.5 / b * (b * 0.5 + 1) * math.log(b * 0.5 + 1) - 0.25
    outside = 3 + 1.5 / b - 0.5
    result = loss(torch.tensor([0.5, 2.0]), torch.zeros(2))
    torch.testing.assert_close(result, torch.tensor([inside, outside]))
    near = loss(torch.tensor([0.99999, 1.00001]), torch.zeros(2))
    torch.testing.assert_close(near[0], near[1], atol=1e-4, rtol=0)


@pytest.mark.parametrize('kind', [L1Loss, SmoothL1Loss, MSELoss, BalancedL1Loss])
def test_weights_avg_factor_and_nothing_to_compare(kind: type) -> None:
    loss = kind()
    one = loss(PRED, ZERO, reduction_override='none')
    torch.testing.assert_close(loss(PRED, ZERO, torch.full((1, 4), 2.0), avg_factor=5), one.sum() * 2 / 5)
    empty = torch.zeros(0, 4, requires_grad=True)
    value = loss(empty, ZERO[:0], torch.zeros(0, 4), avg_factor=0)
    value.backward()
    assert value == 0


@pytest.mark.parametrize('kind', [SmoothL1Loss, BalancedL1Loss])
def test_beta_must_be_positive(kind: type) -> None:
    with pytest.raises(ValueError, match='beta'):
        kind(beta=0)
