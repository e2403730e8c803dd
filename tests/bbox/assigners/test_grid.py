from __future__ import annotations

import pytest
import torch

from mmkit.bbox.assigners import GridAssigner
from mmkit.structures import Instances, PriorInfo

PRIORS = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [20, 20, 30, 30], [50, 50, 60, 60]])
GTS = Instances(torch.tensor([[0.0, 0, 10, 10], [22, 20, 30, 30]]), torch.tensor([5, 6]))
# Best overlaps: 1, 0.8, 0.8, 0.


def flags(*responsible: int) -> PriorInfo:
    return PriorInfo(responsible=torch.tensor(responsible, dtype=torch.bool))


def test_only_responsible_priors_are_positive() -> None:
    assigner = GridAssigner(pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0)
    assignment = assigner.assign(PRIORS, GTS, info=flags(1, 1, 1, 0))
    assert assignment.gt_inds.tolist() == [0, 0, 1, -1]
    assert assignment.labels.tolist() == [5, 5, 6, -1]
    other = assigner.assign(PRIORS, GTS, info=flags(1, 0, 0, 0))
    assert other.gt_inds.tolist() == [0, -2, -2, -1]


def test_the_best_responsible_prior_serves_below_the_threshold() -> None:
    assignment = GridAssigner(0.9, 0.5).assign(PRIORS, GTS, info=flags(0, 1, 1, 1))
    assert assignment.gt_inds.tolist() == [-2, 0, 1, -1]
    strict = GridAssigner(0.9, 0.5, min_pos_iou=0.8).assign(PRIORS, GTS, info=flags(1, 1, 1, 1))
    assert strict.gt_inds.tolist() == [0, -2, -2, -1]


def test_equally_good_priors_all_or_the_first() -> None:
    priors = PRIORS[[0, 0, 3]]
    every = flags(1, 1, 1)
    assert GridAssigner(1.0, 0.5).assign(priors, GTS[:1], info=every).gt_inds.tolist() == [
        0,
        0,
        -1,
    ]
    first = GridAssigner(1.0, 0.5, gt_max_assign_all=False).assign(priors, GTS[:1], info=every)
    assert first.gt_inds.tolist() == [0, -2, -1]


def test_negatives_within_two_bounds() -> None:
    none = flags(0, 0, 0, 0)
    assignment = GridAssigner(0.9, (0.5, 0.9)).assign(PRIORS, GTS, info=none)
    assert assignment.gt_inds.tolist() == [-2, -1, -1, -2]
    with pytest.raises(ValueError, match='neg_iou_thr'):
        GridAssigner(0.9, (0.5, 0.6, 0.7))


def test_nothing_to_assign() -> None:
    none = flags(0, 0, 0, 0)
    assert GridAssigner(0.5, 0.5).assign(PRIORS, GTS[:0], info=none).gt_inds.tolist() == [-1] * 4
    assert GridAssigner(0.5, 0.5).assign(PRIORS[:0], GTS, info=flags()).gt_inds.shape == (0,)
