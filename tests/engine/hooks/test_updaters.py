from __future__ import annotations

import pytest

from mmkit.engine.hook import Hook
from mmkit.registry import HOOKS
from tests.engine.toys import run_with


def test_rate_and_momentum_follow_their_schedules():
    seen = []

    class Watch(Hook):
        def before_train_iter(self, runner):
            group = runner.optimizer.param_groups[0]
            seen.append((group['lr'], group['momentum']))

    lr = HOOKS.build({'type': 'StepLrUpdaterHook', 'step': [1]})
    momentum = HOOKS.build({'type': 'StepMomentumUpdaterHook', 'step': [2]})
    run_with(lr, momentum, Watch(), epochs=3, length=2)
    assert seen == [(0.1, 0.9), (pytest.approx(0.01), 0.9), (pytest.approx(0.01), 0.45)]
