import pytest
import torch

from mmkit.structures import ClassScores


def test_the_best_class():
    scores = ClassScores(torch.tensor([0.1, 0.7, 0.2]))
    assert (len(scores), scores.label, scores.score) == (3, 1, pytest.approx(0.7))
    assert torch.equal(scores.to('cpu').scores, scores.scores)
    with pytest.raises(ValueError, match=r'\(C,\), got \(1, 3\)'):
        ClassScores(torch.zeros(1, 3))
