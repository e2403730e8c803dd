"""On a map of 2 x 2 cells of 8 pixels the anchors are squares of 8 pixels around (0, 0), (8, 0), (0, 8), (8, 8)."""

from __future__ import annotations

import math

import pytest
import torch

from mmkit.models.dense_heads import AnchorHead
from mmkit.models.dense_heads.anchor.base_anchor_head import inside_image
from mmkit.registry import HEADS
from tests.models.scenes import batch_of, meta, truth, zeros

ANCHORS = dict(type='AnchorGenerator', scales=[1], ratios=[1.0], strides=[8])
LN2 = math.log(2)
OBJECT = truth(([4, 4, 12, 12], 1))


def head(train_cfg=None, **arguments):
    arguments = (
        dict(
            num_classes=2,
            in_channels=4,
            anchor_generator=ANCHORS,
            loss_cls=dict(type='FocalLoss', use_sigmoid=True),
            loss_bbox=dict(type='L1Loss'),
            test_cfg=dict(nms_pre=10, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=10),
        )
        | arguments
    )
    assigner = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4)
    return AnchorHead(train_cfg=dict(assigner=assigner) | (train_cfg or {}), **arguments)


def targets(result, batch):
    anchors = torch.cat(result.prior_generator.grid_priors([(2, 2)]))
    return result.targets(anchors, [(2, 2)], batch)


def test_targets():
    result = targets(head(), batch_of(OBJECT, truth()))
    assert result.labels.tolist() == [[2, 2, 2, 1], [2, 2, 2, 2]]
    assert result.label_weights.tolist() == [[1, 1, 1, 1], [1, 1, 1, 1]]
    assert result.bbox_targets.abs().sum() == 0  # the anchor fits
    assert (result.num_pos, result.num_neg) == (1 + 1, 3 + 4)  # an image without objects counts as one positive


def test_targets_of_a_shifted_object_are_deltas_or_the_box():
    batch = batch_of(truth(([4, 5, 12, 13], 0)))
    assert targets(head(), batch).bbox_targets[0, 3].tolist() == pytest.approx([0, 1 / 8, 0, 0])
    assert targets(head(reg_decoded_bbox=True), batch).bbox_targets[0, 3].tolist() == [4, 5, 12, 13]


def test_anchors_between_the_thresholds_and_in_ignored_regions_weigh_nothing():
    between = batch_of(truth(([4, 4, 12, 12], 1), ([4, -4, 12, 0.5], 1)))  # IoU of the second anchor: 0.5625
    strict = dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.7, neg_iou_thr=0.4, min_pos_iou=0.7))
    assert targets(head(strict), between).label_weights.tolist() == [[1, 0, 1, 1]]
    ignoring = dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, ignore_iof_thr=0.5))
    batch = batch_of(OBJECT)
    batch.ignored = [torch.tensor([[-4.0, -4, 4, 4]])]
    assert targets(head(ignoring), batch).label_weights.tolist() == [[0, 1, 1, 1]]


def test_anchors_on_padding_or_outside_take_no_part():
    padded = batch_of(OBJECT, pad_shape=(16, 8))
    assert targets(head(), padded).label_weights.tolist() == [[1, 0, 1, 0]]
    inside = targets(head(dict(allowed_border=0)), batch_of(OBJECT))
    assert inside.label_weights.tolist() == [[0, 0, 0, 1]]


def test_inside_image_allows_a_border():
    anchors = torch.tensor([[-4.0, 0, 4, 8], [8, 8, 18, 16], [0, 0, 16, 15]])
    valid = torch.tensor([True, True, True])
    assert inside_image(anchors, valid, (16, 16), 0).tolist() == [False, False, False]  # 16 is outside already
    assert inside_image(anchors, valid, (16, 16), 3).tolist() == [False, True, True]
    assert inside_image(anchors, torch.tensor([True, False, True]), (16, 16), -1).tolist() == [True, False, True]


def test_losses_of_outputs_that_say_nothing():
    cls_scores, _ = zeros(2, 4)
    losses = head().loss((cls_scores, [torch.full((1, 4, 2, 2), 0.5)]), batch_of(OBJECT))
    # One positive and seven negative logits with probability 1/2.
    assert losses['loss_cls'].item() == pytest.approx(LN2 * 0.25 * (0.25 + 7 * 0.75))
    assert losses['loss_bbox'].item() == pytest.approx(4 * 0.5)


def test_pos_weight():
    losses = head(dict(pos_weight=3.0)).loss(zeros(2, 4), batch_of(OBJECT))
    # The weight is that of the anchor, with its one positive and its one negative logit.
    assert losses['loss_cls'].item() == pytest.approx(LN2 * 0.25 * (3 * (0.25 + 0.75) + 6 * 0.75))


def test_a_sampler_averages_over_all_samples():
    cfg = dict(sampler=dict(type='RandomSampler', num=4, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=False))
    loss = dict(type='CrossEntropyLoss', use_sigmoid=True)
    losses = head(cfg, loss_cls=loss).loss(zeros(2, 4), batch_of(OBJECT))
    assert losses['loss_cls'].item() == pytest.approx(8 * LN2 / 4)


def test_softmax_has_a_background():
    built = head(loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False))
    assert built.conv_cls.out_channels == 3
    losses = built.loss(zeros(3, 4), batch_of(OBJECT))
    assert losses['loss_cls'].item() == pytest.approx(4 * math.log(3))
    ((probabilities,),) = built.class_probabilities([torch.zeros(1, 3, 1, 1)])
    assert probabilities.tolist() == [pytest.approx([1 / 3, 1 / 3])]


def test_decoded_boxes_are_compared():
    built = head(reg_decoded_bbox=True, loss_bbox=dict(type='IoULoss', linear=True))
    losses = built.loss(zeros(2, 4), batch_of(truth(([4, 4, 12, 14], 1))))
    assert losses['loss_bbox'].item() == pytest.approx(1 - 64 / 80)


def test_losses_with_statistics_are_called_for_each_level():
    calls = []
    generator = dict(ANCHORS, strides=[8, 16])
    built = head(anchor_generator=generator, loss_cls=dict(type='GHMC', bins=5), loss_bbox=dict(type='GHMR', bins=5))
    built.loss_cls.register_forward_hook(lambda module, args, out: calls.append(len(args[0])))
    outs = [torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 1, 1)], [torch.zeros(1, 4, 2, 2), torch.zeros(1, 4, 1, 1)]
    losses = built.loss(outs, batch_of(OBJECT))
    assert calls == [4, 1]
    assert all(loss.isfinite() for loss in losses.values())


def test_predictions_are_decoded_clipped_and_best_first():
    (cls_scores, bbox_preds), low = zeros(2, 4), -10.0
    cls_scores[0].fill_(low)
    cls_scores[0][0, 1, 1, 1] = 1.0  # the last anchor is of class 1
    cls_scores[0][0, 0, 0, 0] = 2.0  # the first of class 0
    bbox_preds[0][0, 2, 1, 1] = math.log(1.5)
    built = head()
    (result,) = built.predict((cls_scores, bbox_preds), [meta(scale=2)])
    assert result.labels.tolist() == [0, 1]
    assert result.scores.tolist() == pytest.approx(torch.tensor([2.0, 1.0]).sigmoid().tolist())
    assert result.bboxes.tolist() == [[0, 0, 2, 2], [1, 2, 7, 6]]
    (in_input,) = built.predict((cls_scores, bbox_preds), [meta(scale=2)], rescale=False)
    assert in_input.bboxes[1].tolist() == pytest.approx([2, 4, 14, 12])
    (fewer,) = built.predict((cls_scores, bbox_preds), [meta()], cfg=dict(score_thr=0.8, nms_pre=10))
    assert fewer.labels.tolist() == [0]


def test_nothing_is_predicted_of_an_image_without_candidates():
    (result,) = head().predict((zeros(2, 4)[0], zeros(4)[0]), [meta()], cfg=dict(score_thr=0.99))
    assert len(result) == 0
    without = AnchorHead(num_classes=2, in_channels=4, anchor_generator=ANCHORS)
    with pytest.raises(ValueError, match='test_cfg'):
        without.predict(zeros(2, 4), [meta()])


def test_the_ascend_kinds_are_the_same_heads():
    for name in ('AnchorHead', 'RetinaHead', 'SSDHead'):
        assert HEADS.get(f'Ascend{name}') is HEADS.get(name)
