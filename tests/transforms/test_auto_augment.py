from __future__ import annotations

import numpy as np
import pytest

from mmkit.registry import TRANSFORMS
from mmkit.transforms import AutoAugment, RandAugment, RandomFlip, RandomOrder


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


def marks(step, seed):
    """What `add(...)` steps have noted."""
    return step(dict(img=np.zeros((2, 2, 3)), rng=np.random.default_rng(seed), seen=()))['seen']


def add(mark):
    return lambda sample: {**sample, 'seen': (*sample['seen'], mark)}


def test_policies_have_probabilities():
    step = AutoAugment([[add('a')], [add('b')], [add('c')]], prob=[0.8, 0.2, 0])
    drawn = [marks(step, seed)[0] for seed in range(100)]
    assert drawn.count('c') == 0 and 8 < drawn.count('b') < 35
    for wrong in ([0.5, 0.5], [0.5, 0.6, -0.1], [1, 1, 1]):
        with pytest.raises(ValueError, match='3 probabilities'):
            AutoAugment([[add('a')], [add('b')], [add('c')]], prob=wrong)


def test_several_drawn_chains_follow_each_other():
    drawn = {marks(RandAugment([[add('a'), add('A')], [add('b')]]), seed) for seed in range(40)}
    assert drawn == {('a', 'A', 'a', 'A'), ('a', 'A', 'b'), ('b', 'a', 'A'), ('b', 'b')}
    assert marks(RandAugment([[add('a')]], aug_num=3), 0) == ('a', 'a', 'a')


def test_a_drawn_order():
    drawn = {marks(RandomOrder([add('a'), add('b')]), seed) for seed in range(20)}
    assert drawn == {('a', 'b'), ('b', 'a')}


def test_views_are_all_combinations():
    augment = TRANSFORMS.get('TestTimeAug')  # by name, as pytest takes it for a test
    step = augment([[add('a'), add('b')], [add('x')], [add('1'), add('2')]])
    views = [view['seen'] for view in step(dict(img=np.zeros((2, 2, 3)), seen=()))]
    assert views == [('a', 'x', '1'), ('a', 'x', '2'), ('b', 'x', '1'), ('b', 'x', '2')]
    assert augment([[add('a')]])(dict(seen=()))['seen'] == ('a',)
    with pytest.raises(ValueError, match='list of lists of alternatives'):
        augment([[]])
