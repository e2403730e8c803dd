"""On a map of 2 x 2 cells of 8 pixels the anchors are the cells."""

from __future__ import annotations

import math

import pytest
import torch

from mmkit.models.dense_heads import YOLOFHead
from mmkit.models.dense_heads.anchor.anchor_head import AnchorOuts
from mmkit.models.dense_heads.anchor.yolof_head import with_objectness
from tests.models.scenes import batch_of, meta, truth, zeros

LN2 = math.log(2)
OBJECT = ([8, 8, 16, 16], 1)
ASSIGNER = dict(type='UniformAssigner', pos_ignore_thr=0.15, neg_ignore_thr=0.7, match_times=1)


def head(**arguments):
    cfg = dict(
        num_classes=2,
        in_channels=4,
        num_cls_convs=1,
        num_reg_convs=1,
        anchor_generator=dict(type='AnchorGenerator', scales=[1], ratios=[1.0], strides=[8], center_offset=0.5),
        loss_bbox=dict(type='GIoULoss'),
        train_cfg=dict(assigner=ASSIGNER),
    )
    return YOLOFHead(**cfg | arguments)


def test_scores_are_products_of_probabilities():
    scores, objectness = torch.randn(2, 6, 3, 3), torch.randn(2, 3, 3, 3)  # 3 anchors, 2 classes
    probs = with_objectness(scores, objectness).sigmoid()
    expected = scores.sigmoid() * objectness.sigmoid().repeat_interleave(2, dim=1)
    torch.testing.assert_close(probs, expected)
    assert with_objectness(torch.full((1, 2, 1, 1), 1e4), torch.zeros(1, 1, 1, 1)).tolist() == [[[[0.0]], [[0.0]]]]


def test_losses_by_hand():
    made = head()
    losses = made.loss(AnchorOuts(*zeros(2, 4)), batch_of(truth(OBJECT)))
    assert losses['loss_cls'].item() == pytest.approx(8 * LN2)  # four anchors, two classes, one positive
    assert losses['loss_bbox'].item() == pytest.approx(0, abs=1e-6)  # matched twice, by prediction and by anchor
    nothing = made.loss(AnchorOuts(*zeros(2, 4)), batch_of(truth()))
    assert nothing['loss_cls'].item() == pytest.approx(8 * LN2) and nothing['loss_bbox'] == 0


def test_a_match_that_overlaps_too_little_is_ignored():
    small = truth(([8, 8, 10, 10], 1))  # a sixteenth of its anchor
    losses = head().loss(AnchorOuts(*zeros(2, 4)), batch_of(small))
    assert losses['loss_cls'].item() == pytest.approx(6 * LN2) and losses['loss_bbox'] == 0


def test_boxes_get_a_gradient():
    outs = AnchorOuts(*zeros(2, 4))
    outs.bbox_preds[0].requires_grad_()
    head().loss(outs, batch_of(truth(([6, 8, 16, 16], 0))))['loss_bbox'].backward()
    assert outs.bbox_preds[0].grad[0, :, 1, 1].abs().sum() > 0
    assert outs.bbox_preds[0].grad[0, :, 0].abs().sum() == 0


def test_predictions_and_arguments():
    made = head(test_cfg=dict(nms_pre=10, score_thr=0.1, nms=dict(type='nms', iou_threshold=0.5), max_per_img=3))
    (detections,) = made.predict(AnchorOuts(*zeros(2, 4)), [meta()])
    assert len(detections) == 3 and detections.scores.tolist() == [0.5] * 3
    with pytest.raises(ValueError, match='must be of sigmoids'):
        head(loss_cls=dict(type='CrossEntropyLoss'))
    with pytest.raises(TypeError, match='needs a UniformAssigner'):
        other = head(train_cfg=dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5)))
        other.loss(AnchorOuts(*zeros(2, 4)), batch_of(truth(OBJECT)))
