from __future__ import annotations

import pytest
import torch

from mmkit.engine.losses import NonFiniteError, PendingLosses, sum_losses
from mmkit.errors import UserError


def test_sum_of_losses():
    losses = {'loss_a': torch.tensor([1.0, 3.0]), 's0.loss_b': [torch.tensor(1.0), torch.tensor([2.0, 4.0])]}
    total, values = sum_losses({**losses, 'acc': torch.tensor(90.0)})
    assert float(total) == 6
    assert {name: float(value) for name, value in values.items()} == {
        'loss_a': 2,
        's0.loss_b': 4,
        'acc': 90,
        'loss': 6,
    }
    with pytest.raises(ValueError, match=r"none of \['acc'\]"):
        sum_losses({'acc': torch.tensor(1.0)})
    with pytest.raises(TypeError, match='loss_x is a float'):
        sum_losses({'loss_x': 1.0})


def test_losses_are_read_together():
    pending = PendingLosses()
    assert pending.read() == [] and pending.latest() == {}
    pending.add({'loss_b': torch.tensor(1.0), 'loss_a': torch.tensor(2.0)}, ['0.jpg', '1.jpg'], torch.tensor(True))
    pending.add({'loss_c': torch.tensor(3, dtype=torch.bfloat16)}, ['2.jpg'])
    assert len(pending) == 2 and pending.latest() == {'loss_c': 3}
    read = pending.read()
    assert read == [({'loss_b': 1, 'loss_a': 2}, 2), ({'loss_c': 3}, 1)] and list(read[0][0]) == ['loss_b', 'loss_a']
    assert pending.read() == [] and pending.latest() == {'loss_c': 3}


def test_the_first_step_that_is_not_finite_is_named():
    pending = PendingLosses()
    nan = torch.tensor(float('nan'))
    pending.add({'loss': torch.tensor(1.0)}, ['0.jpg'], torch.tensor(True), 'in iteration 1')
    pending.add({'loss': nan, 'acc': torch.tensor(1.0)}, ['1.jpg'], torch.tensor(False), 'in iteration 2')
    pending.add({'loss': torch.tensor(1.0)}, ['2.jpg'], torch.tensor(False), 'in iteration 3')
    with pytest.raises(NonFiniteError, match=r'loss = nan in iteration 2 for 1\.jpg\. .*learning rate') as error:
        pending.read()
    assert isinstance(error.value, UserError) and isinstance(error.value, FloatingPointError)
    pending.add({'loss': torch.tensor(1.0)}, ['2.jpg'], torch.tensor(False), 'in iteration 3')
    with pytest.raises(NonFiniteError, match=r'the gradient is not finite in iteration 3 for 2\.jpg'):
        pending.read()
