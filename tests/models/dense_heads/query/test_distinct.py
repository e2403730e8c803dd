from __future__ import annotations

import torch
from torch import nn

from mmkit.models.dense_heads.query.distinct import DistinctQueries, distinct

NMS = dict(type='nms', iou_threshold=0.8)
BOXES = torch.tensor([[[0.2, 0.2, 0.2, 0.2], [0.5, 0.5, 0.2, 0.2], [0.5, 0.51, 0.2, 0.2], [0.8, 0.8, 0.2, 0.2]]])


def test_the_better_of_two_copies_is_kept() -> None:
    scores = torch.tensor([[0.1, 0.5, 0.9, 0.3]])
    assert distinct(scores, BOXES, NMS).tolist() == [[True, False, True, True]]
    among = torch.tensor([[True, True, False, True]])
    assert distinct(scores, BOXES, NMS, among).tolist() == [[True, True, False, True]]


def looker(num_queries: int) -> DistinctQueries:
    """Queries of one channel, which is their logit; one query in front of them and one behind."""
    branch = nn.Linear(1, 1, bias=False)
    nn.init.ones_(branch.weight)
    mask = torch.zeros(num_queries + 2, num_queries + 2, dtype=torch.bool)
    mask[0, 1:] = True
    return DistinctQueries(mask, slice(1, num_queries + 1), nn.ModuleList([branch] * 2), NMS, num_heads=2)


def states(logits: list[float]) -> torch.Tensor:
    return torch.tensor([9.0, *logits, 9.0]).view(1, -1, 1)


def surrounded(boxes: torch.Tensor) -> torch.Tensor:
    return torch.cat([boxes[:, :1], boxes, boxes[:, :1]], dim=1)


def test_copies_see_only_distinct_queries() -> None:
    look = looker(4)
    query, boxes = states([0, 1, 2, 3]), surrounded(BOXES[:, [1, 2, 0, 3]])  # the first is a copy of the second
    assert look(0, query, boxes) is look.attn_mask
    mask = look(1, query, boxes)
    assert mask.shape == (2, 6, 6) and torch.equal(mask[0], mask[1])
    expected = look.attn_mask.clone()
    expected[1, 1] = True
    assert torch.equal(mask[0], expected)
    assert [each.tolist() for each in look.counted] == [[[True] * 4], [[False, True, True, True]]]


def test_all_queries_count_if_the_first_is_distinct() -> None:
    look = looker(4)
    query, boxes = states([3, 1, 2, 0]), surrounded(BOXES)
    look(0, query, boxes)
    mask = look(1, query, boxes)[0, 1:5, 1:5]
    assert mask.nonzero().tolist() == [[1, 1]] and look.counted[1].all()
