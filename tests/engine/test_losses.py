from __future__ import annotations

import pytest
import torch

from mmkit.engine.losses import sum_losses, to_numbers


def test_sum_of_losses():
    losses = {'loss_a': torch.tensor([1.0, 3.0]), 's0.loss_b': [torch.tensor(1.0), torch.tensor([2.0, 4.0])]}
    total, values = sum_losses({**losses, 'acc': torch.tensor(90.0)})
    assert float(total) == 6
    assert to_numbers(values) == {'loss_a': 2, 's0.loss_b': 4, 'acc': 90, 'loss': 6}
    with pytest.raises(ValueError, match=r"none of \['acc'\]"):
        sum_losses({'acc': torch.tensor(1.0)})
    with pytest.raises(TypeError, match='loss_x is a float'):
        sum_losses({'loss_x': 1.0})
