from __future__ import annotations

import pytest
import torch

from mmkit.engine.hook import Hook
from mmkit.engine.hooks.ema import EMAHook, ExpMomentumEMAHook, LinearMomentumEMAHook
from tests.engine.toys import run_with, toy_model


def test_momentum_of_the_averages():
    assert EMAHook(momentum=0.0002, warm_up=100).momentum_at(0) == 0.0002
    assert EMAHook(momentum=0.5, warm_up=100).momentum_at(0) == 0.01
    assert LinearMomentumEMAHook(momentum=0.5, interval=2, warm_up=3).momentum_at(10) == 0.25
    assert ExpMomentumEMAHook(momentum=0.1, total_iter=10).momentum_at(9) == pytest.approx(0.1 + 0.9 * 0.36787944)
    for arguments in ({'momentum': 0}, {'interval': 0}):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            EMAHook(**arguments)


def test_averages_are_updated_at_their_interval():
    seen = []

    class Watch(Hook):
        def after_train_iter(self, runner):
            seen.append(runner.ema.averaged(runner.module)['conv.weight'].clone())

    run_with(LinearMomentumEMAHook(momentum=0.9, interval=2, warm_up=1), Watch())
    assert torch.equal(seen[0], toy_model().conv.weight)
    assert not torch.equal(seen[0], seen[1]) and torch.equal(seen[1], seen[2])
