from __future__ import annotations

import pytest

from mmkit.datasets import RepeatDataset
from mmkit.engine.evaluation import check_evaluation
from tests.engine.toys import ToyDataset


def test_what_has_no_evaluation():
    with pytest.raises(TypeError, match='a RepeatDataset cannot be evaluated: use the dataset in it'):
        check_evaluation(RepeatDataset(ToyDataset(), 2), {})


def test_a_check_is_that_of_the_evaluation_beside_it():
    class Strict(ToyDataset):
        def evaluate(self, outputs, metric='bbox'):
            return {}

        def check_evaluation(self, metric='bbox'):
            if metric != 'bbox':
                raise ValueError(metric)
            return ['a', 'b']

    class Other(Strict):
        def evaluate(self, outputs, metric='mine'):
            return {}

    assert check_evaluation(Strict(), {'metric': 'bbox'}) == ['a', 'b']
    with pytest.raises(ValueError, match='mine'):
        check_evaluation(Strict(), {'metric': 'mine'})
    assert check_evaluation(Other(), {'metric': 'mine'}) is None
