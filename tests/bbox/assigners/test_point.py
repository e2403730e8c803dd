from __future__ import annotations

import torch

from mmkit.bbox.assigners import PointAssigner
from mmkit.structures import Instances

FINE = torch.tensor([[x, 0.0, 8] for x in (0.0, 8, 16, 24)])
COARSE = torch.tensor([[0.0, 0, 16], [16, 0, 16]])
POINTS = torch.cat([FINE, COARSE])


def test_size_chooses_the_level_and_distance_the_points() -> None:
    gts = Instances(torch.tensor([[-7.0, -16, 25, 16], [-31, -32, 33, 32]]), torch.tensor([3, 4]))
    # Sides 32 and 64: levels of stride 8 and 16. Centres (9, 0) and (1, 0).
    assignment = PointAssigner(scale=4, pos_num=2).assign(POINTS, gts)
    assert assignment.gt_inds.tolist() == [-1, 0, 0, -1, 1, 1]
    assert assignment.labels.tolist() == [-1, 3, 3, -1, 4, 4]


def test_the_nearer_object_wins_whatever_the_order() -> None:
    bboxes = torch.tensor([[-16.0, -16, 16, 16], [-12, -16, 20, 16]])  # centres 0 and 4
    for order in ([0, 1], [1, 0]):
        gts = Instances(bboxes[order], torch.tensor(order))
        assert PointAssigner(pos_num=1).assign(POINTS, gts).labels.tolist()[0] == 0


def test_nothing_to_assign() -> None:
    gts = Instances(torch.tensor([[0.0, 0, 32, 32]]), torch.tensor([0]))
    assert PointAssigner().assign(POINTS, gts[:0]).gt_inds.tolist() == [-1] * 6
    assert PointAssigner().assign(POINTS[:0], gts).gt_inds.shape == (0,)
