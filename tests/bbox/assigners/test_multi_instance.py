from __future__ import annotations

import pytest
import torch

from mmkit.bbox.assigners import MultiInstanceAssigner
from tests.models.scenes import truth

# Two objects that overlap by a half, and one apart.
GTS = truth(([0, 0, 10, 10], 3), ([0, 0, 10, 5], 4), ([20, 20, 30, 30], 5))


def assigner(**arguments):
    return MultiInstanceAssigner(**dict(pos_iou_thr=0.5, neg_iou_thr=0.5) | arguments)


def test_the_best_two_objects():
    bboxes = torch.tensor([[0, 0, 10, 8], [20, 20, 30, 28], [0, 0, 10, 4], [50, 50, 60, 60.0]])
    assignment = assigner().assign(bboxes, GTS)
    assert assignment.instance_gt_inds.tolist() == [[0, 1], [2, -1], [1, -1], [-1, -1]]
    assert assignment.gt_inds.tolist() == [0, 2, 1, -1] and assignment.labels.tolist() == [3, 5, 4, -1]
    assert assignment.max_overlaps.tolist() == pytest.approx([0.8, 0.8, 0.8, 0])


def test_between_the_thresholds_a_prior_is_ignored():
    bboxes = torch.tensor([[20, 20, 30, 24.0]])  # IoU 0.4
    assert assigner(neg_iou_thr=(0.0, 0.3)).assign(bboxes, GTS).instance_gt_inds.tolist() == [[-2, -1]]


def test_regions_in_which_nothing_counts():
    ignored = torch.tensor([[40, 0, 60, 20], [0, 0, 10, 10.0]])
    bboxes = torch.tensor([[42, 2, 48, 8], [58, 0, 68, 10], [0, 0, 10, 10.0]])
    # Wholly inside; a fifth inside; an object itself, which counts although it is in a region.
    assert assigner().assign(bboxes, GTS, ignored).instance_gt_inds.tolist() == [[-2, -1], [-1, -1], [0, 1]]


def test_fewer_objects_than_instances():
    bboxes = torch.tensor([[0, 0, 10, 10.0]])
    assert assigner().assign(bboxes, GTS[:1]).instance_gt_inds.tolist() == [[0, -1]]
    assert assigner().assign(bboxes, GTS[:0]).instance_gt_inds.tolist() == [[-1, -1]]
    assert assigner(num_instance=3).assign(bboxes[:0], GTS).instance_gt_inds.shape == (0, 3)


def test_values_without_a_meaning():
    with pytest.raises(ValueError, match='match_low_quality must be False'):
        assigner(match_low_quality=True)
    with pytest.raises(ValueError, match='ignore_iof_thr must be negative'):
        assigner(ignore_iof_thr=0.5)
