from __future__ import annotations

import torch

from mmkit.bbox.post_processing import multiclass_nms, multiclass_nms_inds

NMS = dict(type='nms', iou_threshold=0.5)
BOXES = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [30, 30, 40, 40]])
SCORES = torch.tensor([[0.9, 0.0, 0.1], [0.8, 0.7, 0.1], [0.05, 0.6, 0.1]])  # the last column is the background


def test_boxes_of_one_class_suppress_each_other() -> None:
    detections = multiclass_nms(BOXES, SCORES, 0.05, NMS)
    torch.testing.assert_close(detections.scores, torch.tensor([0.9, 0.7, 0.6]))
    assert detections.labels.tolist() == [0, 1, 1]
    torch.testing.assert_close(detections.bboxes, BOXES)


def test_best_of_all_classes_and_where_they_come_from() -> None:
    detections, inds = multiclass_nms_inds(BOXES, SCORES, 0.05, NMS, max_num=2)
    assert len(detections) == 2
    assert inds.tolist() == [0, 3]  # box 0 class 0, box 1 class 1


def test_each_class_may_have_its_own_boxes() -> None:
    boxes = torch.cat([BOXES, BOXES + 100], dim=1)
    detections = multiclass_nms(boxes, SCORES, 0.05, NMS)
    torch.testing.assert_close(detections.bboxes[:2], torch.stack([BOXES[0], BOXES[1] + 100]))


def test_factors_act_after_the_threshold() -> None:
    detections = multiclass_nms(BOXES, SCORES, 0.5, NMS, score_factors=torch.tensor([0.1, 1.0, 0.1]))
    torch.testing.assert_close(detections.scores, torch.tensor([0.8, 0.7, 0.06]))


def test_nothing_left() -> None:
    none, inds = multiclass_nms_inds(BOXES, SCORES, 0.95, NMS, max_num=10)
    assert len(none) == 0 and inds.shape == (0,)
    assert none.labels is not None and none.labels.dtype == torch.long
    assert len(multiclass_nms(BOXES[:0], SCORES[:0], 0.05, NMS)) == 0
    assert len(multiclass_nms(torch.zeros(0, 8), SCORES[:0], 0.05, NMS)) == 0


def test_soft_nms_lowers_scores() -> None:
    soft = dict(type='soft_nms', iou_threshold=0.5, min_score=0.05)
    detections = multiclass_nms(BOXES[:2], SCORES[:2, [0, 2]], 0.05, soft)
    torch.testing.assert_close(detections.scores, torch.tensor([0.9, 0.8 * (1 - 0.9)]))
