from __future__ import annotations

import pytest
import torch

from mmkit.bbox.assigners import ApproxMaxIoUAssigner, MaxIoUAssigner
from mmkit.structures import Instances, PriorInfo

PRIORS = torch.tensor([[0.0, 0, 10, 10], [10, 10, 20, 20], [5, 5, 15, 15], [32, 32, 38, 42]])
GTS = Instances(torch.tensor([[0.0, 0, 10, 9], [0, 10, 10, 19]]), torch.tensor([2, 3]))
# Overlaps of the first: 0.9, 0, 20 / 170, 0; of the second: 0, 0, 25 / 165, 0.


def test_thresholds() -> None:
    assignment = MaxIoUAssigner(pos_iou_thr=0.5, neg_iou_thr=0.1, match_low_quality=False).assign(PRIORS, GTS)
    assert assignment.gt_inds.tolist() == [0, -1, -2, -1]
    torch.testing.assert_close(assignment.max_overlaps, torch.tensor([0.9, 0, 25 / 165, 0]))
    assert assignment.labels.tolist() == [2, -1, -1, -1]
    assert assignment.num_gts == 2


def test_negatives_within_two_bounds() -> None:
    assignment = MaxIoUAssigner(0.5, [0.1, 0.5], match_low_quality=False).assign(PRIORS, GTS)
    assert assignment.gt_inds.tolist() == [0, -2, -1, -2]
    with pytest.raises(ValueError, match='neg_iou_thr'):
        MaxIoUAssigner(0.5, [0.1, 0.2, 0.3])


def test_low_quality_matches_need_min_pos_iou() -> None:
    assert MaxIoUAssigner(0.5, 0.5, min_pos_iou=0.1).assign(PRIORS, GTS).gt_inds.tolist() == [0, -1, 1, -1]
    assert MaxIoUAssigner(0.5, 0.5, min_pos_iou=0.3).assign(PRIORS, GTS).gt_inds.tolist() == [0, -1, -1, -1]


def test_a_later_gt_takes_the_prior_of_an_earlier_one() -> None:
    priors = torch.tensor([[0.0, 0, 10, 10]])
    gts = Instances(torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5]]), torch.tensor([0, 1]))
    assignment = MaxIoUAssigner(0.7, 0.3, min_pos_iou=0.3).assign(priors, gts)
    assert assignment.gt_inds.tolist() == [1]
    assert assignment.max_overlaps.tolist() == [1]


def test_equally_good_priors_all_or_the_first() -> None:
    priors = torch.tensor([[0.0, 0, 10, 10], [0, 10, 10, 20], [50, 50, 60, 60]])
    gts = Instances(torch.tensor([[0.0, 5, 10, 15]]))
    assert MaxIoUAssigner(0.7, 0.3, 0.3).assign(priors, gts).gt_inds.tolist() == [0, 0, -1]
    first = MaxIoUAssigner(0.7, 0.3, 0.3, gt_max_assign_all=False).assign(priors, gts)
    assert first.gt_inds.tolist() == [0, -2, -1]
    assert first.labels is None


@pytest.mark.parametrize('on_priors', [True, False])
def test_ignored_regions(on_priors: bool) -> None:
    ignored = torch.tensor([[30.0, 30, 40, 40]])  # 48 of the last prior's 60, of the region's 100
    assigner = MaxIoUAssigner(0.5, 0.5, ignore_iof_thr=0.5, ignore_wrt_candidates=on_priors, match_low_quality=False)
    assert assigner.assign(PRIORS, GTS, ignored).gt_inds.tolist() == [0, -1, -1, -2 if on_priors else -1]
    assert assigner.assign(PRIORS, GTS, ignored[:0]).gt_inds.tolist() == [0, -1, -1, -1]


def test_nothing_to_assign() -> None:
    assigner = MaxIoUAssigner(0.5, 0.5, ignore_iof_thr=0.5)
    no_gts = assigner.assign(PRIORS, GTS[:0], PRIORS)
    assert no_gts.gt_inds.tolist() == [-1] * 4
    assert no_gts.labels.tolist() == [-1] * 4
    assert no_gts.max_overlaps.tolist() == [0] * 4
    no_priors = assigner.assign(PRIORS[:0], GTS, PRIORS)
    assert no_priors.gt_inds.shape == (0,) and no_priors.labels.shape == (0,)
    assert assigner.assign(PRIORS[:0], GTS[:0]).gt_inds.shape == (0,)


def test_many_gts_on_the_cpu_give_the_same() -> None:
    moved = MaxIoUAssigner(0.5, 0.5, gpu_assign_thr=1, iou_calculator=dict(type='BboxOverlaps2D'))
    usual = MaxIoUAssigner(0.5, 0.5)
    assert moved.assign(PRIORS, GTS).gt_inds.tolist() == usual.assign(PRIORS, GTS).gt_inds.tolist()


def test_approxs_stand_for_their_prior() -> None:
    squares = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]])
    wide, tall = torch.tensor([[0.0, 0, 20, 5], [0, 0, 5, 20]]).unbind()
    approxs = torch.stack([torch.stack([wide, tall]), torch.stack([wide + 20, tall + 20])])  # (N, A, 4)
    gts = Instances(torch.tensor([[0.0, 0, 20, 4], [20, 20, 25, 38]]), torch.tensor([2, 3]))
    assigner = ApproxMaxIoUAssigner(pos_iou_thr=0.5, neg_iou_thr=0.4, ignore_iof_thr=0.5)
    assignment = assigner.assign(squares, gts, info=PriorInfo(approxs=approxs))
    assert assignment.gt_inds.tolist() == [0, 1]
    torch.testing.assert_close(assignment.max_overlaps, torch.tensor([0.8, 0.9]))
    ignored = torch.tensor([[18.0, 18, 32, 32]])  # covers the second square
    assert assigner.assign(squares, gts, ignored, PriorInfo(approxs=approxs)).gt_inds.tolist()[1] == -2
    assert assigner.assign(squares, gts[:0], info=PriorInfo(approxs=approxs)).gt_inds.tolist() == [-1, -1]
    with pytest.raises(ValueError, match='approxs'):
        assigner.assign(squares, gts)
