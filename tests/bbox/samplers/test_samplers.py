from __future__ import annotations

import pytest
import torch

from mmkit.bbox import Assignment
from mmkit.bbox.samplers import (
    CombinedSampler,
    InstanceBalancedPosSampler,
    IoUBalancedNegSampler,
    OHEMSampler,
    PseudoSampler,
    RandomSampler,
)
from mmkit.structures import Instances

BOXES = torch.arange(32.0).view(8, 4)
GTS = Instances(torch.tensor([[1.0, 1, 2, 2], [3, 3, 4, 4]]), torch.tensor([7, 8]))


def assigned(*gt_inds: int, overlaps: list[float] | None = None) -> Assignment:
    inds = torch.tensor(gt_inds)
    values = torch.tensor(overlaps) if overlaps else torch.zeros(len(inds))
    return Assignment.from_gt_inds(inds, values, GTS)


ALL = assigned(0, -1, 1, -2, -1, 0, -1, -1)


@pytest.mark.parametrize('sampler', [PseudoSampler(), RandomSampler(100, 0.5, add_gt_as_proposals=False)])
def test_everything_is_taken_in_order_if_it_fits(sampler: PseudoSampler | RandomSampler) -> None:
    samples = sampler.sample(ALL, BOXES, GTS)
    assert samples.pos_inds.tolist() == [0, 2, 5]
    assert samples.neg_inds.tolist() == [1, 4, 6, 7]
    assert samples.pos_gt_inds.tolist() == [0, 1, 0]
    assert samples.pos_gt_labels.tolist() == [7, 8, 7]
    torch.testing.assert_close(samples.pos_gt_bboxes, GTS.bboxes[[0, 1, 0]])
    torch.testing.assert_close(samples.bboxes, BOXES[[0, 2, 5, 1, 4, 6, 7]])
    assert not samples.pos_is_gt.any()


def test_gts_are_put_first_and_match_themselves() -> None:
    samples = RandomSampler(100, 0.5).sample(ALL, BOXES, GTS)
    assert samples.pos_inds.tolist() == [0, 1, 2, 4, 7]
    assert samples.pos_gt_inds.tolist() == [0, 1, 0, 1, 0]
    assert samples.pos_is_gt.tolist() == [True, True, False, False, False]
    torch.testing.assert_close(samples.pos_bboxes[:2], GTS.bboxes)
    assert samples.neg_inds.tolist() == [3, 6, 8, 9]


def test_random_choice_keeps_numbers_and_limits() -> None:
    samples = RandomSampler(4, 0.5, add_gt_as_proposals=False).sample(ALL, BOXES, GTS)
    assert len(samples.pos_inds) == 2 and len(samples.neg_inds) == 2
    assert set(samples.pos_inds.tolist()) <= {0, 2, 5}
    assert samples.pos_inds.tolist() == sorted(samples.pos_inds.tolist())
    assert set(samples.neg_inds.tolist()) <= {1, 4, 6, 7}
    few = RandomSampler(4, 0.25, neg_pos_ub=2, add_gt_as_proposals=False).sample(ALL, BOXES, GTS)
    assert len(few.pos_inds) == 1 and len(few.neg_inds) == 2


def test_negatives_fill_up_without_positives() -> None:
    samples = RandomSampler(3, 0.5, neg_pos_ub=2).sample(assigned(-1, -1, -1, -1), BOXES[:4], GTS[:0])
    assert len(samples.pos_inds) == 0 and len(samples.neg_inds) == 2  # as if there were one positive
    assert samples.pos_gt_bboxes.shape == (0, 4) and samples.bboxes.shape == (2, 4)


def test_no_boxes_at_all() -> None:
    empty = Assignment.from_gt_inds(torch.zeros(0, dtype=torch.long), torch.zeros(0), GTS[:0])
    for sampler in (PseudoSampler(), RandomSampler(4, 0.5)):
        samples = sampler.sample(empty, BOXES[:0], GTS[:0])
        assert samples.bboxes.shape == (0, 4) and samples.pos_gt_bboxes.shape == (0, 4)


def test_gts_without_labels() -> None:
    gts = Instances(GTS.bboxes)
    assignment = Assignment.from_gt_inds(torch.tensor([1, -1]), torch.zeros(2), gts)
    assert RandomSampler(10, 0.5).sample(assignment, BOXES[:2], gts).pos_gt_labels is None


def test_ohem_takes_the_greatest_losses() -> None:
    def losses(bboxes: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        asked.append(labels.tolist())
        return bboxes[:, 0]

    asked: list[list[int]] = []
    samples = OHEMSampler(4, 0.5, add_gt_as_proposals=False).sample(ALL, BOXES, GTS, hard_losses=losses)
    assert samples.pos_inds.tolist() == [2, 5]
    assert samples.neg_inds.tolist() == [6, 7]
    assert asked == [[7, 8, 7], [-1, -1, -1, -1]]
    with pytest.raises(ValueError, match='hard_losses'):
        OHEMSampler(4, 0.5).sample(ALL, BOXES, GTS)


def test_instance_balanced_positives() -> None:
    many = assigned(0, 0, 0, 0, 0, 0, 0, 1)
    for seed in range(5):
        torch.manual_seed(seed)
        samples = InstanceBalancedPosSampler(2, 1.0, add_gt_as_proposals=False).sample(many, BOXES, GTS)
        assert len(samples.pos_inds) == 2
    # Four wanted, three a ground truth at most: the rare one is always there.
    samples = InstanceBalancedPosSampler(4, 1.0, add_gt_as_proposals=False).sample(many, BOXES, GTS)
    assert samples.pos_gt_inds.tolist() == [0, 0, 0, 1]


def test_iou_balanced_negatives() -> None:
    overlaps = [0.0, 0.0, 0.0, 0.0, 0.0, 0.31, 0.61, 0.9]
    assignment = assigned(*[-1] * 8, overlaps=overlaps)
    sampler = IoUBalancedNegSampler(3, 0.0, add_gt_as_proposals=False)
    # Three bins between 0 and 0.9; the box at the very top is in none of them.
    samples = sampler.sample(assignment, BOXES, GTS)
    assert {5, 6} <= set(samples.neg_inds.tolist()) and len(samples.neg_inds) == 3
    floored = IoUBalancedNegSampler(4, 0.0, floor_thr=0.1, floor_fraction=0.5, add_gt_as_proposals=False)
    samples = floored.sample(assignment, BOXES, GTS)
    assert len(samples.neg_inds) == 4 and sum(i >= 5 for i in samples.neg_inds.tolist()) == 2
    with pytest.raises(ValueError, match='floor_fraction'):
        IoUBalancedNegSampler(4, 0.5, floor_fraction=2)
    with pytest.raises(ValueError, match='num_bins'):
        IoUBalancedNegSampler(4, 0.5, num_bins=0)


def test_combined_sampler_takes_both_choices() -> None:
    sampler = CombinedSampler(
        pos_sampler=dict(type='InstanceBalancedPosSampler'),
        neg_sampler=dict(type='IoUBalancedNegSampler', floor_thr=-1, floor_fraction=0, num_bins=3),
        num=4,
        pos_fraction=0.5,
        add_gt_as_proposals=True,
    )
    samples = sampler.sample(ALL, BOXES, GTS)
    assert len(samples.pos_inds) == 2 and len(samples.neg_inds) == 2
