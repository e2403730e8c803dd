from __future__ import annotations

import pytest
import torch

from mmkit.bbox.samplers import ScoreHLRSampler
from mmkit.structures import Assignment, Instances
from mmkit.structures.assignment import RegionPredictions

GTS = Instances(torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([3]))
PRIORS = torch.tensor([[0.0, 0, 10, 9], *([20.0 * i, 0, 20.0 * i + 10, 10] for i in range(1, 6))])
ASSIGNMENT = Assignment(
    torch.tensor([0, -1, -1, -1, -1, -1]), torch.zeros(6), torch.tensor([3, -1, -1, -1, -1, -1]), num_gts=1
)
SCORES = [0.9, 0.8, 0.3, 0.04, 0.01]


def predict(bboxes: torch.Tensor) -> RegionPredictions:
    """The first two negatives end up on one box."""
    assert len(bboxes) == 5
    moved = bboxes.clone()
    moved[1] = moved[0]
    return RegionPredictions(torch.tensor([4.0, 3, 2, 1, 1]), torch.tensor(SCORES), moved)


def sample(num: int, **arguments: float):
    sampler = ScoreHLRSampler(num, pos_fraction=0.5, add_gt_as_proposals=False, **arguments)
    return sampler.sample(ASSIGNMENT, PRIORS, GTS, predict=predict)


def test_the_best_of_each_group_come_first() -> None:
    samples = sample(3, k=1)
    assert samples.pos_inds.tolist() == [0]
    assert samples.neg_inds.tolist() == [1, 3]  # the second one is suppressed by the first
    # Three are likely: 1 and 2/3, with which the losses 4 and 2 make 16/3 of 6.
    assert samples.neg_weights.tolist() == pytest.approx([9 / 8, 3 / 4])


def test_others_fill_up_with_the_least_weight() -> None:
    samples = sample(5, k=1)
    assert samples.neg_inds.tolist()[:3] == [1, 3, 2] and samples.neg_inds[3] in (4, 5)
    weights = torch.tensor([1, 3 / 4, 2 / 4, 2 / 4])
    losses = torch.tensor([4.0, 2, 3, 1])
    torch.testing.assert_close(samples.neg_weights, weights * losses.sum() / (losses * weights).sum())
    biased = sample(5, k=2, bias=0.5).neg_weights
    torch.testing.assert_close(biased / biased[0], ((1 + weights) / 2) ** 2)


def test_nothing_likely_is_sampled_at_random() -> None:
    samples = sample(3, score_thr=0.95)
    assert len(samples.neg_inds) == 2 and samples.neg_weights.tolist() == [1, 1]


def test_no_negatives_and_no_predictions() -> None:
    sampler = ScoreHLRSampler(4, pos_fraction=0.5)
    only = Assignment(torch.tensor([0]), torch.zeros(1), torch.tensor([3]), num_gts=1)
    samples = sampler.sample(only, PRIORS[:1], GTS)
    assert len(samples.pos_inds) == 2 and len(samples.neg_inds) == len(samples.neg_weights) == 0
    with pytest.raises(ValueError, match='predict'):
        sampler.sample(ASSIGNMENT, PRIORS, GTS)
