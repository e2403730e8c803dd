from __future__ import annotations

import pytest
import torch

from mmkit.models.losses import L1Loss, weight_reduce_loss

LOSS = torch.tensor([1.0, 2.0, 3.0])
WEIGHT = torch.tensor([1.0, 0.0, 2.0])


def test_reductions() -> None:
    assert weight_reduce_loss(LOSS, WEIGHT, 'none').tolist() == [1, 0, 6]
    assert weight_reduce_loss(LOSS, WEIGHT, 'sum') == 7
    torch.testing.assert_close(weight_reduce_loss(LOSS, WEIGHT), torch.tensor(7 / 3))


def test_avg_factor_divides_only_a_mean() -> None:
    torch.testing.assert_close(weight_reduce_loss(LOSS, WEIGHT, avg_factor=2), torch.tensor(3.5))
    assert weight_reduce_loss(LOSS, WEIGHT, 'none', avg_factor=2).tolist() == [1, 0, 6]
    assert weight_reduce_loss(LOSS * 0, avg_factor=0) == 0
    with pytest.raises(ValueError, match='sum'):
        weight_reduce_loss(LOSS, reduction='sum', avg_factor=2)


def test_reduction_may_be_overridden_for_a_call() -> None:
    loss = L1Loss(reduction='sum', loss_weight=2.0)
    assert loss(LOSS, LOSS * 0) == 12
    assert loss(LOSS, LOSS * 0, reduction_override='none').tolist() == [2, 4, 6]
    with pytest.raises(ValueError, match='average'):
        L1Loss(reduction='average')
    with pytest.raises(ValueError, match='average'):
        loss(LOSS, LOSS, reduction_override='average')
