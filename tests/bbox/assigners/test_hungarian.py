from __future__ import annotations

import torch

from mmkit.bbox.assigners import HungarianAssigner
from mmkit.structures import Instances, PriorInfo

# Image 100 wide, 50 high; two objects, three queries that predict the second, something else, the first.
GTS = Instances(torch.tensor([[0.0, 0, 20, 10], [40, 20, 80, 40]]), torch.tensor([1, 0]))
PREDS = torch.tensor([[0.6, 0.6, 0.4, 0.4], [0.9, 0.9, 0.1, 0.1], [0.1, 0.1, 0.2, 0.2]])


def test_each_gt_gets_one_query() -> None:
    assignment = HungarianAssigner().assign(
        PREDS, GTS, info=PriorInfo(cls_scores=torch.zeros(3, 3), img_shape=(50, 100))
    )
    assert assignment.gt_inds.tolist() == [1, -1, 0]
    assert assignment.labels.tolist() == [0, -1, 1]


def test_classes_decide_between_equal_boxes() -> None:
    scores = torch.tensor([[0.0, 0, 0], [0, 9, 0], [0, 0, 0]])
    assigner = HungarianAssigner(
        cls_cost=dict(type='FocalLossCost', weight=2.0),
        reg_cost=dict(type='BBoxL1Cost', weight=5.0, box_format='xywh'),
        iou_cost=dict(type='IoUCost', iou_mode='giou', weight=2.0),
    )
    assignment = assigner.assign(PREDS[[2, 2, 2]], GTS[:1], info=PriorInfo(cls_scores=scores, img_shape=(50, 100)))
    assert assignment.gt_inds.tolist() == [-1, 0, -1]


def test_nothing_to_assign() -> None:
    assigner = HungarianAssigner()
    assert (
        assigner.assign(PREDS, GTS[:0], info=PriorInfo(cls_scores=torch.zeros(3, 3), img_shape=(9, 9))).gt_inds.tolist()
        == [-1] * 3
    )
    empty = assigner.assign(PREDS[:0], GTS, info=PriorInfo(cls_scores=torch.zeros(0, 3), img_shape=(9, 9)))
    assert empty.gt_inds.shape == (0,)


def test_a_batch_of_layers_is_matched_with_one_transfer(monkeypatch) -> None:
    torch.manual_seed(0)
    scores, boxes = torch.randn(2, 3, 4, 3), torch.rand(2, 3, 4, 4)
    gts, shapes = [GTS, GTS[:0], GTS[:1]], [(50, 100), (50, 50), (60, 100)]
    assigner = HungarianAssigner()
    alone = [
        [assigner.assign(boxes[layer, i], gts[i], info=PriorInfo(cls_scores=scores[layer, i], img_shape=shapes[i]))
         for i in range(3)]
        for layer in range(2)
    ]  # fmt: skip
    transfers = []
    to_host = torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, 'cpu', lambda tensor: transfers.append(tensor.shape) or to_host(tensor))
    matched = assigner.match_batch(scores, boxes, gts, shapes)
    assert transfers == [(2 * 4 * (2 + 0 + 1),)]
    assert matched.tolist() == [[each.gt_inds.tolist() for each in layer] for layer in alone]
    assert (matched >= 0).sum(-1).tolist() == [[2, 0, 1]] * 2
