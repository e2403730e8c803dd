"""Learning rates at every iteration."""

from __future__ import annotations

import numpy as np
import pytest

from mmkit.engine.schedules import lr_curve
from tests.parity.recorded import read_json

CASES = read_json('lr_curves.json')


@pytest.mark.parametrize('name', sorted(CASES))
def test_learning_rates_are_the_recorded_ones(name: str) -> None:
    case = CASES[name]
    by_epoch = case['runner'] == 'EpochBasedRunner'
    rates = lr_curve(case['lr_config'], case['base_lr'], case['max_epochs'], case['iters_per_epoch'], by_epoch)
    np.testing.assert_allclose(np.asarray(rates, float), np.asarray(case['lr'], float), rtol=1e-6, atol=1e-12)
