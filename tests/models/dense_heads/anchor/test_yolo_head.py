"""On a map of 2 x 2 cells of 8 pixels the anchors are the cells."""

from __future__ import annotations

import math

import pytest
import torch

from mmkit.models.dense_heads import YOLOV3Head
from tests.models.scenes import batch_of, meta, truth, zeros

LN2 = math.log(2)
SUM = dict(type='CrossEntropyLoss', use_sigmoid=True, reduction='sum')
TEST = dict(nms_pre=1, min_bbox_size=0, score_thr=0.05, conf_thr=0.005, nms=dict(type='nms', iou_threshold=0.45))
OBJECT = truth(([8, 8, 16, 16], 1))


def head(**arguments):
    return YOLOV3Head(
        **dict(
            num_classes=2,
            in_channels=[4],
            out_channels=[8],
            featmap_strides=[8],
            anchor_generator=dict(type='YOLOAnchorGenerator', base_sizes=[[[8, 8]]], strides=[8]),
            loss_cls=SUM,
            loss_conf=SUM,
            loss_xy=SUM,
            loss_wh=dict(type='MSELoss', reduction='sum'),
            train_cfg=dict(assigner=dict(type='GridAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0)),
            test_cfg=TEST,
        )
        | arguments
    )


def test_losses_by_hand():
    losses = head().loss(zeros(7)[0], batch_of(OBJECT))
    assert losses['loss_xy'].item() == pytest.approx(2 * LN2)  # the target is the middle, 1/2
    assert losses['loss_wh'].item() == 0
    assert losses['loss_conf'].item() == pytest.approx(4 * LN2)  # one object, three times none
    assert losses['loss_cls'].item() == pytest.approx(2 * LN2)


def test_targets_of_an_object_off_the_middle():
    anchors = torch.tensor([[0.0, 0, 8, 8], [8, 0, 16, 8], [0, 8, 8, 16], [8, 8, 16, 16]])
    gts = truth(([10, 8, 18, 12], 0))  # its centre is (14, 10)
    target, negative = head(one_hot_smoother=0.2).targets(anchors, torch.full((4,), 8.0), [(2, 2)], gts)
    assert target[3].tolist() == pytest.approx([0.75, 0.25, 0, math.log(0.5), 1, 0.9, 0.1], abs=1e-6)
    assert target[:3].abs().sum() == 0
    assert negative.tolist() == [1, 1, 1, 0]


def test_means_are_taken_a_level():
    mean = dict(type='CrossEntropyLoss', use_sigmoid=True)
    anchors = dict(type='YOLOAnchorGenerator', base_sizes=[[[16, 16]], [[8, 8]]], strides=[16, 8])
    two = head(
        in_channels=[4, 4], out_channels=[8, 8], featmap_strides=[16, 8], anchor_generator=anchors, loss_conf=mean
    )
    losses = two.loss([torch.zeros(1, 7, 1, 1), torch.zeros(1, 7, 2, 2)], batch_of(OBJECT))
    assert losses['loss_conf'].item() == pytest.approx(2 * LN2)


def test_predictions():
    (preds,) = zeros(7)[0]
    preds[0, 5:] = -10
    preds[0, 4] = -10  # objectness
    preds[0, 4:, 1, 1] = torch.tensor([1.0, -10, 2.0])
    preds[0, 2, 1, 1] = math.log(0.5)  # half as wide as the anchor
    preds[0, 4:, 0, 0] = torch.tensor([-6.0, 3.0, -10])  # below conf_thr, although the class is sure
    preds[0, 4:, 0, 1] = torch.tensor([-5.0, 3.0, -10])  # above it
    (detections,) = head().predict([preds], [meta(scale=2)])
    assert detections.bboxes.tolist() == [[5, 4, 7, 8], [4, 0, 8, 4]]
    sure = torch.tensor([1.0, 2, -5, 3]).sigmoid()
    assert detections.scores.tolist() == pytest.approx([(sure[0] * sure[1]).item(), (sure[2] * sure[3]).item()])
    assert detections.labels.tolist() == [1, 0]
    (every,) = head().predict([preds], [meta()], cfg={key: TEST[key] for key in ('score_thr', 'nms')})
    assert len(every) == 3


def test_candidates_of_all_levels_are_limited():
    outs = zeros(7)[0]
    outs[0][0, 4] = torch.tensor([[0.0, 1], [2, 3]])  # objectness
    outs[0][0, 5] = torch.tensor([[3.0, 2], [1, 0]])  # the first class
    everything, limited = head(), head(test_cfg=dict(TEST, limit_candidates=True))
    assert everything.predict(outs, [meta()])[0].scores.numel() == 8
    detections = limited.predict(outs, [meta()])[0]
    # The first cell has the best class, whatever its objectness.
    assert detections.scores.tolist() == pytest.approx([torch.tensor(3.0).sigmoid().item() / 2])


def test_few_objects_at_the_start():
    built = head(featmap_strides=[32])
    built.init_weights()
    bias = built.convs_pred[0].bias
    assert bias[4].item() == pytest.approx(math.log(8 / 19**2))
    assert bias[5].item() == pytest.approx(math.log(0.6 / 1.01))
    assert bias[:4].abs().sum() == 0


def test_lengths_must_agree():
    with pytest.raises(ValueError, match='featmap_strides'):
        head(featmap_strides=[8, 16])
