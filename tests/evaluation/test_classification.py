from __future__ import annotations

import numpy as np
import pytest

from mmkit.evaluation import precision_recall_f1, top_k_accuracy

SCORES = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.5, 0.4, 0.1], [0.1, 0.2, 0.7]])
LABELS = np.array([0, 1, 1, 1])


def test_top_k() -> None:
    assert top_k_accuracy(SCORES, LABELS, (1, 2)) == {'accuracy_top-1': 50.0, 'accuracy_top-2': 100.0}
    with pytest.raises(ValueError, match='top-5 accuracy of 3 classes'):
        top_k_accuracy(SCORES, LABELS, (5,))


def test_precision_recall_f1() -> None:
    values = precision_recall_f1(SCORES, LABELS, 'none')
    np.testing.assert_allclose(values['precision'], [50, 100, 0])
    np.testing.assert_allclose(values['recall'], [100, 100 / 3, 0])
    np.testing.assert_allclose(values['f1_score'], [200 / 3, 50, 0], rtol=1e-6)
    assert values['support'].tolist() == [1, 3, 0]
    mean = precision_recall_f1(SCORES, LABELS)
    assert mean['precision'] == pytest.approx(50)
    assert mean['support'] == 4
    with pytest.raises(ValueError, match="'micro'"):
        precision_recall_f1(SCORES, LABELS, 'micro')
