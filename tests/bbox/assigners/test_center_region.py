from __future__ import annotations

import torch

from mmkit.bbox.assigners import CenterRegionAssigner
from mmkit.structures import Instances


def cells(*centers: tuple[float, float]) -> torch.Tensor:
    """Priors of 2 x 2."""
    return torch.tensor([[x - 1, y - 1, x + 1, y + 1] for x, y in centers])


LARGE, SMALL = [0.0, 0, 40, 40], [18.0, 18, 22, 22]


def assign(priors, gts, ignored=None, **arguments):
    return CenterRegionAssigner(**dict(pos_scale=0.2, neg_scale=0.5) | arguments).assign(priors, gts, ignored)


def test_the_middle_is_positive_and_what_lies_around_it_is_shadowed() -> None:
    gts = Instances(torch.tensor([LARGE]), torch.tensor([3]))
    assignment = assign(cells((20, 20), (12, 20), (5, 20), (60, 20)), gts)  # middle 16 .. 24, shadow 10 .. 30
    assert assignment.gt_inds.tolist() == [0, -1, -1, -1]
    assert assignment.labels.tolist() == [3, -1, -1, -1]
    assert assignment.shadowed.tolist() == [[1, 3]]


def test_the_smaller_object_comes_first() -> None:
    gts = Instances(torch.tensor([LARGE, SMALL]), torch.tensor([3, 5]))
    assignment = assign(cells((20, 20), (17, 17)), gts)
    assert assignment.gt_inds.tolist() == [1, 0]
    assert assignment.shadowed.tolist() == [[0, 3]]


def test_positive_and_shadowed_for_one_class() -> None:
    gts = Instances(torch.tensor([LARGE, SMALL]), torch.tensor([3, 3]))
    priors = cells((20, 20), (17, 17))
    assignment = assign(priors, gts)
    assert assignment.gt_inds.tolist() == [-1, 0] and assignment.shadowed.tolist() == [[0, 3]]
    dominant = assign(priors, gts, foreground_dominate=True)
    assert dominant.gt_inds.tolist() == [1, 0] and dominant.shadowed.tolist() == []


def test_a_prior_larger_than_the_middle_needs_its_centre_inside() -> None:
    gts = Instances(torch.tensor([SMALL]), torch.tensor([0]))
    large = torch.tensor([[17.0, 17, 27, 27], [15, 15, 25, 25]])  # centres 22 and 20
    assignment = assign(large, gts, min_pos_iof=0.001)
    assert assignment.gt_inds.tolist() == [-1, 0]
    assert assign(large, gts, min_pos_iof=0.1).gt_inds.tolist() == [-1, -1]


def test_ignored_regions() -> None:
    gts = Instances(torch.tensor([LARGE]), torch.tensor([3]))
    ignored = torch.tensor([[50.0, 10, 70, 30]])
    assignment = assign(cells((20, 20), (60, 20), (52, 20)), gts, ignored)  # half of it: 55 .. 65
    assert assignment.gt_inds.tolist() == [0, -2, -1]


def test_no_objects() -> None:
    none = Instances(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
    assignment = assign(cells((20, 20)), none)
    assert assignment.gt_inds.tolist() == [-1] and assignment.shadowed.shape == (0, 2)
