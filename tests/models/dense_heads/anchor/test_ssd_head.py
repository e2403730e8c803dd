from __future__ import annotations

import math

import pytest

from mmkit.models.dense_heads import SSDHead
from tests.models.scenes import batch_of, meta, truth, zeros

ONE_ANCHOR = dict(type='AnchorGenerator', scales=[1], ratios=[1.0], strides=[8])
ASSIGNER = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, gt_max_assign_all=False)
OBJECT = truth(([4, 4, 12, 12], 1))


def head(train_cfg=None, **arguments):
    return SSDHead(
        **dict(
            num_classes=2,
            in_channels=[4],
            anchor_generator=ONE_ANCHOR,
            train_cfg=dict(assigner=ASSIGNER, neg_pos_ratio=2, smoothl1_beta=1.0) | (train_cfg or {}),
            test_cfg=dict(nms_pre=10, score_thr=0.02, nms=dict(type='nms', iou_threshold=0.45), max_per_img=10),
        )
        | arguments
    )


def test_levels_that_do_not_fit():
    with pytest.raises(ValueError, match='in_channels has 2 levels, anchor_generator has 1'):
        head(in_channels=[4, 4])


def test_two_negatives_for_each_positive():
    losses = head().loss(zeros(3, 4), batch_of(OBJECT))
    assert losses['loss_cls'].item() == pytest.approx((1 + 2) * math.log(3))
    assert losses['loss_bbox'].item() == 0
    more = head(dict(neg_pos_ratio=9)).loss(zeros(3, 4), batch_of(OBJECT))
    assert more['loss_cls'].item() == pytest.approx((1 + 3) * math.log(3))  # there are but three


def test_the_hardest_negatives_are_taken():
    scores, deltas = zeros(3, 4)
    scores[0][0, 2, 0, 0] = 5  # this one knows that it is background
    scores[0][0, 0, 0, 1] = 5  # this one is sure of an object
    hard, plain = math.log(math.exp(5) + 2), math.log(3)
    losses = head().loss((scores, deltas), batch_of(OBJECT))
    assert losses['loss_cls'].item() == pytest.approx(plain + hard + plain)
    one = head(dict(neg_pos_ratio=1)).loss((scores, deltas), batch_of(OBJECT))
    assert one['loss_cls'].item() == pytest.approx(plain + hard)


def test_each_image_has_negatives_for_its_own_positives():
    scores, deltas = (x[0].repeat(2, 1, 1, 1) for x in zeros(3, 4))
    losses = head().loss(([scores], [deltas]), batch_of(OBJECT, truth()))
    assert losses['loss_cls'].item() == pytest.approx(3 * math.log(3) / 2)  # the empty image counts as one positive


def test_box_loss_is_smooth():
    scores, deltas = zeros(3, 4)
    deltas[0].fill_(0.5)
    assert head().loss((scores, deltas), batch_of(OBJECT))['loss_bbox'].item() == pytest.approx(4 * 0.125)
    steep = head(dict(smoothl1_beta=0.1)).loss((scores, deltas), batch_of(OBJECT))
    assert steep['loss_bbox'].item() == pytest.approx(4 * 0.45)


def test_layers():
    anchors = dict(
        type='SSDAnchorGenerator', strides=[8, 16], ratios=[[2], [2, 3]], min_sizes=[8, 16], max_sizes=[16, 32]
    )
    plain = head(in_channels=[4, 6], anchor_generator=anchors)
    assert {name: tuple(p.shape) for name, p in plain.named_parameters() if 'weight' in name} == {
        'cls_convs.0.0.weight': (4 * 3, 4, 3, 3),
        'cls_convs.1.0.weight': (6 * 3, 6, 3, 3),
        'reg_convs.0.0.weight': (4 * 4, 4, 3, 3),
        'reg_convs.1.0.weight': (6 * 4, 6, 3, 3),
    }
    lite = head(use_depthwise=True, norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU6'))
    assert lite.cls_convs[0][0].conv.groups == 4
    assert lite.cls_convs[0][1].weight.shape == (3, 4, 1, 1)
    stacked = head(stacked_convs=2, feat_channels=8)
    assert [layer.out_channels for layer in stacked.cls_convs[0]] == [8, 8, 3]


def test_predictions_leave_out_the_background():
    scores, deltas = zeros(3, 4)
    scores[0][0, 2] = 9
    scores[0][0, 0, 1, 1] = 9
    (detections,) = head().predict((scores, deltas), [meta()])
    assert detections.bboxes.tolist() == [[4, 4, 12, 12]] and detections.labels.tolist() == [0]
    assert detections.scores.item() == pytest.approx(0.5, abs=1e-3)


def test_samplers_are_refused():
    with pytest.raises(ValueError, match='sampler'):
        head(dict(sampler=dict(type='RandomSampler', num=4, pos_fraction=0.5)))
