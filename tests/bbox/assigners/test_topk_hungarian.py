from __future__ import annotations

import pytest
import torch

from mmkit.bbox.assigners import TopkHungarianAssigner
from mmkit.structures import Instances, PriorInfo

GTS = Instances(torch.tensor([[0.0, 0, 8, 8], [8, 8, 16, 16]]), torch.tensor([0, 1]))
BOXES = torch.tensor([[8.0, 8, 16, 16], [0, 0, 8, 8], [0, 0, 8, 4], [8, 8, 16, 12], [4, 4, 12, 12]])


def info(scores: torch.Tensor, boxes: torch.Tensor = BOXES) -> PriorInfo:
    return PriorInfo(scores=scores, bbox_preds=boxes, img_shape=(16, 16))


def test_each_object_gets_its_best_predictions() -> None:
    """The two nearest each; alignment is score times IoU to the sixth."""
    assignment = TopkHungarianAssigner(topk=2).assign(BOXES, GTS, info=info(torch.full((5, 2), 0.5)))
    assert assignment.gt_inds.tolist() == [1, 0, 0, 1, -1] and assignment.labels.tolist() == [1, 0, 0, 1, -1]
    torch.testing.assert_close(assignment.max_overlaps, torch.tensor([1, 1, 0.5, 0.5, 0]))
    torch.testing.assert_close(assignment.alignment, torch.tensor([0.5, 0.5, 0.5**7, 0.5**7, 0]))


def test_classes_count() -> None:
    """Of two boxes in one place, the one with the class of the object is taken."""
    boxes = BOXES[[1, 1]]
    scores = torch.tensor([[0.1, 0.9], [0.9, 0.1]])
    assignment = TopkHungarianAssigner(topk=1).assign(boxes, GTS[:1], info=info(scores, boxes))
    assert assignment.gt_inds.tolist() == [-1, 0]


def test_nothing_to_assign() -> None:
    assignment = TopkHungarianAssigner(topk=3).assign(BOXES, GTS[:0], info=info(torch.rand(5, 2)))
    assert assignment.gt_inds.tolist() == [-1] * 5 and assignment.alignment.tolist() == [0] * 5
    with pytest.raises(ValueError, match='topk'):
        TopkHungarianAssigner(topk=0)
