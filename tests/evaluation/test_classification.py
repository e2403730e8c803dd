from __future__ import annotations

import numpy as np
import pytest

from mmkit.evaluation import evaluate_scores, precision_recall_f1, top_k_accuracy

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


def test_scores_below_a_threshold_do_not_count() -> None:
    assert top_k_accuracy(SCORES, LABELS, (1, 2), thr=0.6) == {'accuracy_top-1': 25.0, 'accuracy_top-2': 25.0}
    values = precision_recall_f1(SCORES, LABELS, 'none', thr=0.6)
    np.testing.assert_allclose(values['precision'], [100, 0, 0])
    np.testing.assert_allclose(values['recall'], [100, 0, 0])


def test_metrics_by_name() -> None:
    assert evaluate_scores(SCORES, LABELS) == {'accuracy_top-1': 50.0}
    assert evaluate_scores(np.eye(6), np.arange(6)) == {'accuracy_top-1': 100.0, 'accuracy_top-5': 100.0}
    assert evaluate_scores(SCORES, LABELS, options={'topk': 2}) == {'accuracy': 100.0}
    everything = evaluate_scores(SCORES, LABELS, ['support', 'recall', 'accuracy', 'f1_score', 'precision'])
    assert list(everything) == ['accuracy_top-1', 'precision', 'recall', 'f1_score', 'support']
    assert everything['support'] == 4 and everything['precision'] == pytest.approx(50)


def test_metric_options() -> None:
    options = {'thrs': (0.0, 0.6), 'topk': [1]}
    values = evaluate_scores(SCORES, LABELS, ['accuracy', 'recall', 'support'], options)
    assert values == {
        'accuracy_top-1_thr_0.00': 50.0,
        'recall_thr_0.00': pytest.approx(400 / 9),
        'support': 4.0,
        'accuracy_top-1_thr_0.60': 25.0,
        'recall_thr_0.60': pytest.approx(100 / 3),
    }
    per_class = evaluate_scores(SCORES, LABELS, 'recall', {'average_mode': 'none'}, ('cat', 'dog', 'owl'))
    assert per_class == {'recall_cat': 100.0, 'recall_dog': pytest.approx(100 / 3), 'recall_owl': 0.0}


def test_unknown_metrics_and_options() -> None:
    with pytest.raises(ValueError, match="unknown metric 'acuracy', did you mean 'accuracy'"):
        evaluate_scores(SCORES, LABELS, 'acuracy')
    with pytest.raises(ValueError, match="unknown metric option 'top_k', did you mean 'topk'"):
        evaluate_scores(SCORES, LABELS, options={'top_k': 1})
    with pytest.raises(ValueError, match='label 3 with scores of 3 classes'):
        evaluate_scores(SCORES, np.array([0, 1, 2, 3]))
