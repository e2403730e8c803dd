"""Learning rates and momenta at every iteration."""

from __future__ import annotations

import numpy as np
import pytest

from mmkit.dialects import param_curve
from mmkit.engine.schedules import lr_curve
from tests.parity.recorded import read_json

CASES = read_json('lr_curves.json')
ZOO = read_json('lr_curves3.json')
SCHEDULERS = read_json('param_schedulers.json')


@pytest.mark.parametrize('name', sorted(CASES))
def test_learning_rates_are_the_recorded_ones(name: str) -> None:
    case = CASES[name]
    by_epoch = case['runner'] == 'EpochBasedRunner'
    rates = lr_curve(case['lr_config'], case['base_lr'], case['max_epochs'], case['iters_per_epoch'], by_epoch)
    np.testing.assert_allclose(np.asarray(rates, float), np.asarray(case['lr'], float), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize('name', sorted(ZOO))
def test_rates_of_the_zoo_are_the_recorded_ones(name: str) -> None:
    case = ZOO[name]
    lengths = case['max_epochs'], case['max_iters'], case['iters_per_epoch']
    rates = param_curve(case['param_scheduler'], case['base_lrs'], *lengths, case['iterations'])
    np.testing.assert_allclose(np.asarray(rates), np.asarray(case['lr']), rtol=1e-5, atol=1e-10)


@pytest.mark.parametrize('name', sorted(SCHEDULERS))
def test_every_scheduler_is_the_recorded_one(name: str) -> None:
    case = SCHEDULERS[name]
    lengths = case['max_epochs'], case['max_iters'], case['iters_per_epoch']
    values = param_curve(case['param_scheduler'], case['base'], *lengths, quantity=case['quantity'])
    np.testing.assert_allclose(np.asarray(values), np.asarray(case['values']), rtol=1e-6, atol=1e-12)
