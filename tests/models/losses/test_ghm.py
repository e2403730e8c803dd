from __future__ import annotations

import math

import pytest
import torch

from mmkit.models.losses import GHMC, GHMR


def test_rare_gradients_count_as_much_as_common_ones() -> None:
    # Norms 0.5, 0.5, 0.5 and 0.9: two bins in use, of 3 and 1 elements out of 4.
    logit = math.log(9.0)
    pred = torch.tensor([[0.0], [0.0], [0.0], [logit]])
    result = GHMC()(pred, torch.tensor([0, 0, 0, 1]))
    torch.testing.assert_close(result, torch.tensor((math.log(2) + math.log(10)) / 2))


def test_only_valid_elements_count() -> None:
    pred = torch.tensor([[0.0], [5.0]])
    result = GHMC()(pred, torch.tensor([0, 1]), torch.tensor([1.0, 0.0]), avg_factor=77)
    torch.testing.assert_close(result, torch.tensor(math.log(2)))
    assert GHMC()(pred, torch.tensor([0, 1]), torch.zeros(2)) == 0
    assert GHMR()(torch.ones(1, 4), torch.zeros(1, 4), torch.zeros(1, 4)) == 0


def test_regression_by_hand() -> None:
    # sqrt(3² + 4²) - 4 = 1 with norm 0.6, and 0 with norm 0: two bins of one element each.
    result = GHMR(mu=4.0)(torch.tensor([[3.0, 0.0]]), torch.zeros(1, 2), torch.ones(1, 2))
    torch.testing.assert_close(result, torch.tensor(0.5))


def test_momentum_smooths_the_counts_and_is_saved() -> None:
    loss = GHMC(bins=2, momentum=0.75)
    loss(torch.zeros(4, 1), torch.zeros(4, dtype=torch.long))
    assert loss.acc_sum.tolist() == [0, 1]
    assert set(loss.state_dict()) == {'edges', 'acc_sum'}
    assert set(GHMR().state_dict()) == {'edges'}
    assert loss.use_sigmoid
    with pytest.raises(ValueError, match='use_sigmoid'):
        GHMC(use_sigmoid=False)
