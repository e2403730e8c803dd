from __future__ import annotations

import torch

from mmkit.bbox.assigners import SimOTAAssigner
from mmkit.structures import Instances, PriorInfo

PRIORS = torch.tensor([[x, 4.0, 8, 8] for x in (4.0, 12, 20, 100)])
GT = Instances(torch.tensor([[0.0, 0, 16, 8]]), torch.tensor([1]))


def test_number_of_positives_is_the_sum_of_ious() -> None:
    preds = torch.tensor([[0.0, 0, 16, 8], [0, 0, 16, 8], [0, 0, 16, 7], [0, 0, 16, 8]])
    scores = torch.full((4, 2), 0.5)
    # IoUs of the three priors near the object sum up to 2.875: the two cheapest are taken, the last is too far.
    assignment = SimOTAAssigner().assign(preds, GT, info=PriorInfo(scores=scores, points=PRIORS))
    assert assignment.gt_inds.tolist() == [0, 0, -1, -1]
    assert assignment.labels.tolist() == [1, 1, -1, -1]
    torch.testing.assert_close(assignment.max_overlaps, torch.tensor([1.0, 1, -1e5, -1e5]))


def test_at_least_one_and_the_best_score_wins() -> None:
    preds = torch.tensor([[0.0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]])
    scores = torch.tensor([[0.5, 0.1], [0.1, 0.9], [0.5, 0.5], [0.1, 0.9]])
    assignment = SimOTAAssigner().assign(preds, GT, info=PriorInfo(scores=scores, points=PRIORS))
    assert assignment.gt_inds.tolist() == [-1, 0, -1, -1]


def test_a_prior_wanted_twice_goes_to_the_cheaper_gt() -> None:
    gts = Instances(torch.tensor([[0.0, 0, 16, 8], [0, 0, 16, 9]]), torch.tensor([0, 1]))
    preds = gts.bboxes[[1]].expand(1, 4)
    assignment = SimOTAAssigner().assign(preds, gts, info=PriorInfo(scores=torch.full((1, 2), 0.5), points=PRIORS[:1]))
    assert assignment.gt_inds.tolist() == [1]


def test_nothing_to_assign() -> None:
    assigner = SimOTAAssigner()
    none = assigner.assign(PRIORS, GT[:0], info=PriorInfo(scores=torch.rand(4, 2), points=PRIORS))
    assert none.gt_inds.tolist() == [-1] * 4
    far = assigner.assign(PRIORS[3:], GT, info=PriorInfo(scores=torch.rand(1, 2), points=PRIORS[3:]))
    assert far.gt_inds.tolist() == [-1]
    empty = assigner.assign(torch.zeros(0, 4), GT, info=PriorInfo(scores=torch.zeros(0, 2), points=torch.zeros(0, 4)))
    assert empty.gt_inds.shape == (0,)
