from __future__ import annotations

import math

import pytest
import torch

from mmkit.bbox.assigners import DynamicSoftLabelAssigner
from mmkit.bbox.assigners.dynamic_soft_label import _center_distances, _class_cost
from mmkit.structures import Instances, PriorInfo

POINTS = torch.tensor([[x, 4.0, 8, 8] for x in (4.0, 12, 20, 100)])
GT = Instances(torch.tensor([[0.0, 0, 16, 8]]), torch.tensor([1]))


def info(logits: torch.Tensor, points: torch.Tensor = POINTS) -> PriorInfo:
    return PriorInfo(cls_scores=logits, points=points)


def test_only_points_inside_as_many_as_the_sum_of_ious() -> None:
    preds = GT.bboxes.expand(4, 4)
    assignment = DynamicSoftLabelAssigner().assign(preds, GT, info=info(torch.zeros(4, 2)))
    assert assignment.gt_inds.tolist() == [0, 0, -1, -1]
    assert assignment.labels.tolist() == [1, 1, -1, -1]
    torch.testing.assert_close(assignment.max_overlaps, torch.tensor([1.0, 1, 0, 0]))


def test_at_least_one_and_the_best_score_wins() -> None:
    preds = torch.tensor([[0.0, 0, 4, 8]]).expand(4, 4)
    logits = torch.tensor([[0.0, -5.0], [0.0, -1.0], [0.0, 0.0], [0.0, 0.0]])
    assignment = DynamicSoftLabelAssigner().assign(preds, GT, info=info(logits))
    assert assignment.gt_inds.tolist() == [-1, 0, -1, -1]
    assert assignment.max_overlaps[1] == pytest.approx(0.25)


def test_the_nearest_of_equal_predictions() -> None:
    points = torch.tensor([[2.0, 4, 8, 8], [7, 4, 8, 8], [14, 4, 8, 8]])
    preds = torch.tensor([[0.0, 0, 8, 8]]).expand(3, 4)  # IoUs sum up to 1.5
    assignment = DynamicSoftLabelAssigner().assign(preds, GT, info=info(torch.zeros(3, 2), points))
    assert assignment.gt_inds.tolist() == [-1, 0, -1]


def test_a_prediction_wanted_twice_goes_to_the_cheaper_gt() -> None:
    gts = Instances(torch.tensor([[0.0, 0, 16, 8], [0, 0, 16, 9]]), torch.tensor([0, 1]))
    assignment = DynamicSoftLabelAssigner().assign(gts.bboxes[[1]], gts, info=info(torch.zeros(1, 2), POINTS[:1]))
    assert assignment.gt_inds.tolist() == [1]


def test_nothing_to_assign() -> None:
    assigner = DynamicSoftLabelAssigner()
    assert assigner.assign(POINTS, GT[:0], info=info(torch.zeros(4, 2))).gt_inds.tolist() == [-1] * 4
    far = assigner.assign(POINTS[3:], GT, info=info(torch.zeros(1, 2), POINTS[3:]))
    assert far.gt_inds.tolist() == [-1] and far.max_overlaps.tolist() == [0]
    empty = assigner.assign(torch.zeros(0, 4), GT, info=info(torch.zeros(0, 2), torch.zeros(0, 4)))
    assert empty.gt_inds.shape == (0,)


def test_costs_by_hand() -> None:
    logits, ious = torch.tensor([[2.0, -1.0]]), torch.tensor([[0.5, 0.8]])
    p = [1 / (1 + math.exp(-2)), 1 / (1 + math.exp(1))]

    def focal(prob: float, target: float) -> float:
        return -(target * math.log(prob) + (1 - target) * math.log(1 - prob)) * (prob - target) ** 2

    expected = [[focal(p[0], 0.5) + focal(p[1], 0), focal(p[0], 0) + focal(p[1], 0.8)]]
    assert _class_cost(logits, torch.tensor([0, 1]), ious).tolist() == [pytest.approx(row) for row in expected]
    distances = _center_distances(torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[20.0, 30, 40, 50]]))
    assert distances.tolist() == [[pytest.approx(5.0)]]  # (30, 40) pixels away
