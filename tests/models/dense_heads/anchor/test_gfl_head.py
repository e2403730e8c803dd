from __future__ import annotations

import math

import pytest
import torch

from mmkit.models.dense_heads import GFLHead
from mmkit.models.dense_heads.anchor.gfl_head import Integral
from tests.models.scenes import batch_of, meta, truth, zeros


def head(**arguments):
    return GFLHead(
        **dict(
            num_classes=2,
            in_channels=4,
            feat_channels=8,
            stacked_convs=1,
            norm_cfg=None,
            reg_max=2,
            anchor_generator=dict(type='AnchorGenerator', scales=[1], ratios=[1.0], strides=[8]),
            train_cfg=dict(assigner=dict(type='ATSSAssigner', topk=9)),
            test_cfg=dict(nms_pre=10, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.6), max_per_img=10),
        )
        | arguments
    )


def test_integral_is_the_mean():
    logits = torch.zeros(1, 4, 4)
    logits[0, 1, 3] = 100
    logits[0, 2, :2] = 100
    assert Integral(3)(logits.view(1, 16)).tolist() == [pytest.approx([1.5, 3, 0.5, 1.5])]
    assert list(Integral(3).state_dict()) == ['project']
    with torch.autocast('cpu', dtype=torch.bfloat16):
        precise = Integral(16)(torch.rand(8, 4 * 17))
    assert precise.dtype == torch.float32


def test_losses_by_hand():
    # Uniform distributions over 0, 1, 2 give the distance 1 stride: the anchor at (8, 8), the only positive one, fits.
    losses = head().loss(zeros(2, 12), batch_of(truth(([0, 0, 16, 16], 1))))
    assert losses['loss_bbox'].item() == pytest.approx(0, abs=1e-6)
    # Every logit is half a unit from its target, 0 or the IoU 1.
    assert losses['loss_cls'].item() == pytest.approx(8 * 0.25 * math.log(2), rel=1e-5)
    # Weighted by the score 1/2, of which the sum is less than 1.
    assert losses['loss_dfl'].item() == pytest.approx(0.25 * 0.5 * math.log(3), rel=1e-5)


def test_scores_without_a_quality_are_refused():
    with pytest.raises(TypeError, match='loss_cls is a QualityFocalLoss, whose targets are qualities, got FocalLoss'):
        head(loss_cls=dict(type='FocalLoss', use_sigmoid=True))


def test_the_score_is_to_foretell_the_iou():
    fits = head().loss(zeros(2, 12), batch_of(truth(([0, 0, 16, 16], 1))))['loss_cls']
    misses = head().loss(zeros(2, 12), batch_of(truth(([4, 4, 12, 12], 1))))['loss_cls']
    assert misses.item() == pytest.approx((7 * 0.25 + 0.25**2) * math.log(2), rel=1e-5)  # IoU 1/4
    assert misses < fits


def test_distances_are_in_strides():
    cls_scores, logits = zeros(2, 12)
    cls_scores[0].fill_(-10)
    cls_scores[0][0, 1, 1, 1] = 1
    logits[0][0, 2, 1, 1] = 100  # left: 2 strides
    (detections,) = head().predict((cls_scores, logits), [meta(32, 32)])
    assert detections.bboxes.tolist() == [pytest.approx([0, 0, 16, 16])]
    (unclipped,) = head(bbox_coder=dict(type='DistancePointBBoxCoder', clip_border=False)).predict(
        (cls_scores, logits), [meta(32, 32)]
    )
    assert unclipped.bboxes.tolist() == [pytest.approx([-8, 0, 16, 16])]
    assert unclipped.labels.tolist() == [1]


@pytest.mark.parametrize(
    'change, word',
    [
        (dict(anchor_generator=dict(type='AnchorGenerator', scales=[1, 2], ratios=[1.0], strides=[8])), 'one anchor'),
        (dict(anchor_generator=dict(type='AnchorGenerator', scales=[1], ratios=[1.0], strides=[(8, 4)])), 'square'),
        (dict(reg_decoded_bbox=False), 'reg_decoded_bbox'),
    ],
)
def test_what_is_refused(change, word):
    with pytest.raises(ValueError, match=word):
        head(**change)
