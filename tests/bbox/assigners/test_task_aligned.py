from __future__ import annotations

import pytest
import torch

from mmkit.bbox.assigners import TaskAlignedAssigner
from mmkit.structures import Instances, PriorInfo

PRIORS = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [40, 0, 50, 10]])
GT = Instances(torch.tensor([[0.0, 0, 16, 10]]), torch.tensor([1]))


def test_score_and_iou_decide_together() -> None:
    preds = GT.bboxes.repeat(3, 1)
    scores = torch.tensor([[0.9, 0.2], [0.1, 0.8], [0.0, 0.9]])
    assignment = TaskAlignedAssigner(topk=2).assign(PRIORS, GT, info=PriorInfo(scores=scores, bbox_preds=preds))
    # The two best are the last, whose centre is outside, and the one in the middle.
    assert assignment.gt_inds.tolist() == [-1, 0, -1]
    assert assignment.labels.tolist() == [-1, 1, -1]
    torch.testing.assert_close(assignment.alignment, torch.tensor([0, 0.8, 0]))


def test_a_prior_goes_to_the_gt_it_predicts_best() -> None:
    gts = Instances(torch.tensor([[0.0, 0, 16, 10], [0, 0, 16, 8]]), torch.tensor([0, 1]))
    assignment = TaskAlignedAssigner(topk=1).assign(
        PRIORS[:1], gts, info=PriorInfo(scores=torch.tensor([[0.9, 0.1]]), bbox_preds=gts.bboxes[1:])
    )
    assert assignment.gt_inds.tolist() == [1]


def test_nothing_to_assign() -> None:
    assigner = TaskAlignedAssigner(topk=3)
    none = assigner.assign(PRIORS, GT[:0], info=PriorInfo(scores=torch.rand(3, 2), bbox_preds=PRIORS))
    assert none.gt_inds.tolist() == [-1] * 3 and none.alignment.tolist() == [0] * 3
    empty = assigner.assign(PRIORS[:0], GT, info=PriorInfo(scores=torch.rand(0, 2), bbox_preds=PRIORS[:0]))
    assert empty.gt_inds.shape == (0,)
    with pytest.raises(ValueError, match='topk'):
        TaskAlignedAssigner(topk=0)
