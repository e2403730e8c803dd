from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from mmkit.utils.seed import init_seed, set_random_seed


def test_the_same_seed_gives_the_same_numbers():
    draws = []
    for _ in range(2):
        set_random_seed(5)
        draws.append((random.random(), np.random.rand(), torch.rand(1).item()))
    assert draws[0] == draws[1]


def test_a_given_seed_is_kept_and_a_missing_one_is_drawn():
    assert init_seed(0) == 0
    assert 0 <= init_seed() < 2**31


@pytest.mark.parametrize('seed', ['zero', 1.5, -1])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(ValueError, match=f'seed is {seed!r}, expected a whole number of at least 0'):
        init_seed(seed)


def test_deterministic_switches_cudnn(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, 'deterministic', False)
    monkeypatch.setattr(torch.backends.cudnn, 'benchmark', True)
    set_random_seed(1, deterministic=True)
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.benchmark
