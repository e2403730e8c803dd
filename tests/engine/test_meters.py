from __future__ import annotations

import pytest

from mmkit.engine.meters import Meters


def test_averages_are_weighted_and_of_the_last_values():
    meters = Meters(window=3)
    for value, weight in [(100, 1), (1, 1), (2, 2), (4, 1)]:
        meters.update({'a': value}, weight)
    meters.update({'b': 7})
    assert meters.averages() == {'a': pytest.approx((1 + 4 + 4) / 4), 'b': 7}
    assert meters.averages(2) == {'a': pytest.approx((4 + 4) / 3), 'b': 7}
    meters.clear()
    assert meters.averages() == {}
    meters.update({'a': 8})
    assert meters.averages() == {'a': 8} and meters.histories() == {'a': [2, 4, 8], 'b': [7]}
    other = Meters(window=3)
    other.load_state_dict(meters.state_dict())
    assert other.averages() == {'a': 8} and other.histories() == meters.histories()


def test_state_comes_back_with_a_wider_window():
    meters = Meters(window=2)
    meters.widen(4)
    meters.widen(3)
    for value in range(5):
        meters.update({'a': value})
    other = Meters(window=2)
    other.load_state_dict(meters.state_dict())
    assert other.averages() == meters.averages() == {'a': 2.5}
    other.update({'a': 9})
    assert other.averages() == {'a': 4.5}
