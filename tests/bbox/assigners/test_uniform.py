from __future__ import annotations

import torch

from mmkit.bbox.assigners import UniformAssigner
from mmkit.structures import Instances, PriorInfo

ANCHORS = torch.tensor([[0.0, 0, 10, 10], [10, 0, 20, 10], [20, 0, 30, 10], [30, 0, 40, 10]])
GT = Instances(torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([2]))


def test_nearest_prediction_and_nearest_anchor() -> None:
    preds = ANCHORS[[3, 3, 0, 0]]
    assignment = UniformAssigner(0.15, 0.7, match_times=1).assign(ANCHORS, GT, info=PriorInfo(bbox_preds=preds))
    # Anchor 0 is chosen as an anchor; anchor 2 or 3 as a prediction, ignored as its anchor is far; so is the other.
    assert assignment.gt_inds.tolist() == [0, -1, -2, -2]
    assert assignment.labels.tolist() == [2, -1, -1, -1]
    assert sorted(assignment.pos_is_used.tolist()) == [False, True]
    torch.testing.assert_close(assignment.pos_gt_bboxes, GT.bboxes.expand(2, 4))
    torch.testing.assert_close(assignment.pos_bboxes[assignment.pos_is_used], preds[:1])


def test_nothing_to_assign() -> None:
    assigner = UniformAssigner(0.15, 0.7)
    none = assigner.assign(ANCHORS, GT[:0], info=PriorInfo(bbox_preds=ANCHORS))
    assert none.gt_inds.tolist() == [-1] * 4
    assert none.pos_bboxes.shape == (0, 4) and none.pos_is_used.dtype == torch.bool
    assert assigner.assign(ANCHORS[:0], GT, info=PriorInfo(bbox_preds=ANCHORS[:0])).gt_inds.shape == (0,)
