from __future__ import annotations

import pytest
import torch

from mmkit.bbox.assigners import ATSSAssigner
from mmkit.structures import Instances, PriorInfo


def row_of_boxes() -> torch.Tensor:
    """Five 10 x 10 boxes side by side at 0, 10, ..., 40."""
    x = torch.arange(5) * 10.0
    return torch.stack([x, torch.zeros(5), x + 10, torch.full((5,), 10.0)], dim=1)


def test_threshold_is_mean_plus_deviation() -> None:
    gts = Instances(torch.tensor([[8.0, 0, 20, 10]]), torch.tensor([4]))
    # Candidates: boxes 1, 0, 2 by distance of centres 1, 9, 11; IoUs 10 / 12, 2 / 20, 0: mean 0.311, deviation 0.455.
    assignment = ATSSAssigner(topk=3).assign(row_of_boxes(), gts, info=PriorInfo([5]))
    assert assignment.gt_inds.tolist() == [-1, 0, -1, -1, -1]
    assert assignment.labels.tolist() == [-1, 4, -1, -1, -1]
    torch.testing.assert_close(assignment.max_overlaps[1], torch.tensor(10 / 12))


def test_candidates_come_from_every_level() -> None:
    boxes = torch.cat([row_of_boxes(), torch.tensor([[0.0, 0, 40, 40], [0, 0, 400, 400]])])
    gts = Instances(torch.tensor([[0.0, 0, 38, 38]]), torch.tensor([0]))
    # One of each level: IoUs 100 / 1444, 1444 / 1600 and next to nothing.
    assert ATSSAssigner(topk=1).assign(boxes, gts, info=PriorInfo([5, 1, 1])).gt_inds.tolist() == [-1] * 5 + [0, -1]


def test_a_prior_goes_to_the_gt_it_overlaps_most() -> None:
    gts = Instances(torch.tensor([[0.0, 0, 10, 9], [0, 0, 10, 10]]), torch.tensor([0, 1]))
    assert ATSSAssigner(topk=3).assign(row_of_boxes(), gts, info=PriorInfo([5])).gt_inds.tolist()[0] == 1


def test_ignored_priors() -> None:
    gts = Instances(torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([0]))
    ignored = torch.tensor([[40.0, 0, 50, 10]])
    assignment = ATSSAssigner(topk=3, ignore_iof_thr=0.5).assign(row_of_boxes(), gts, ignored, info=PriorInfo([5]))
    assert assignment.gt_inds.tolist() == [0, -1, -1, -1, -2]


def test_alpha_judges_predictions() -> None:
    gts = Instances(torch.tensor([[0.0, 0, 30, 10]]), torch.tensor([1]))
    assigner = ATSSAssigner(topk=3, alpha=0.5)
    scores = torch.full((5, 2), -10.0)
    scores[1, 1] = 10
    boxes = row_of_boxes()
    preds = gts.bboxes.expand(5, 4)
    assignment = assigner.assign(boxes, gts, info=PriorInfo([5], scores=scores.sigmoid(), bbox_preds=preds))
    assert assignment.gt_inds.tolist() == [-1, 0, -1, -1, -1]
    assert assigner.needs == {'num_level_bboxes', 'scores', 'bbox_preds'}
    assert ATSSAssigner(topk=3).needs == {'num_level_bboxes'}
    with pytest.raises(ValueError, match='bbox_preds'):
        assigner.assign(boxes, gts, info=PriorInfo([5]))


def test_nothing_to_assign() -> None:
    gts = Instances(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
    assignment = ATSSAssigner(topk=2).assign(row_of_boxes(), gts, info=PriorInfo([5]))
    assert assignment.gt_inds.tolist() == [-1] * 5
    one = Instances(torch.ones(1, 4), torch.zeros(1, dtype=torch.long))
    assert ATSSAssigner(topk=2).assign(torch.zeros(0, 4), one, info=PriorInfo([0])).gt_inds.shape == (0,)
