from __future__ import annotations

import numpy as np
import pytest

from mmkit.transforms import AutoAugment, RandomFlip


def test_one_policy_is_drawn():
    step = AutoAugment([[lambda sample: {**sample, 'got': 1}], [dict(type='RandomFlip'), lambda sample: None]])
    assert isinstance(step.policies[1].transforms[0], RandomFlip)
    outcomes = [step(dict(img=np.zeros((2, 2, 3)), rng=np.random.default_rng(seed))) for seed in range(40)]
    assert 10 < sum(outcome is None for outcome in outcomes) < 30
    assert all(outcome['got'] == 1 for outcome in outcomes if outcome is not None)


@pytest.mark.parametrize('policies', [[], [[]], [dict(type='RandomFlip')]])
def test_policies_are_lists_of_lists(policies):
    with pytest.raises(ValueError, match='list of lists of transforms'):
        AutoAugment(policies)
