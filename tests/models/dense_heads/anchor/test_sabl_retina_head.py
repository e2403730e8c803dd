from __future__ import annotations

import math

import pytest
import torch

from mmkit.models.dense_heads import SABLRetinaHead
from mmkit.models.dense_heads.anchor.sabl_retina_head import SABLOuts
from tests.models.scenes import batch_of, meta, truth, zeros

SQUARES = dict(type='AnchorGenerator', scales=[1], ratios=[1.0], strides=[8])
TRAIN = dict(
    assigner=dict(type='ApproxMaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0), allowed_border=-1
)


def head(**arguments):
    return SABLRetinaHead(
        **dict(
            num_classes=2,
            in_channels=4,
            feat_channels=4,
            stacked_convs=1,
            approx_anchor_generator=dict(SQUARES, ratios=[0.25, 1.0, 4.0]),
            square_anchor_generator=SQUARES,
            bbox_coder=dict(type='BucketingBBoxCoder', num_buckets=4, scale_factor=2.0),
            train_cfg=TRAIN,
            test_cfg=dict(nms_pre=10, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.6), max_per_img=10),
        )
        | arguments
    )


def test_names_of_parameters():
    names = {name.rpartition('.')[0] for name, _ in head().named_parameters()}
    assert names == {'cls_convs.0.conv', 'reg_convs.0.conv', 'retina_cls', 'retina_bbox_reg', 'retina_bbox_cls'}


def test_losses_by_hand():
    outs = SABLOuts(*zeros(2, 8, 8))
    losses = head().loss(outs, batch_of(truth(([2, 6, 14, 10], 1))))
    # The wide approx of the cell at (8, 8), (0, 6, 16, 10), overlaps most: its square is positive.
    assert losses['loss_cls'].item() == pytest.approx(math.log(2) * 0.25 * (0.25 + 7 * 0.75))
    # Scaled square 0 .. 16 with buckets of 4, middles 2, 6 (14, 10). The sides 2 and 14 are in the outer ones; 6 and 10
    # in the inner ones: eight scores count, and the four offsets of these are 0. The others are 1 bucket off, not less.
    assert losses['loss_bbox_cls'].item() == pytest.approx(1.5 * 8 * math.log(2) / (4 * 2))
    assert losses['loss_bbox_reg'].item() == pytest.approx(0, abs=1e-6)


def test_scores_follow_the_confidence_of_the_buckets():
    cls_scores, bucket_scores, offsets = zeros(2, 12, 12)  # S = 3
    cls_scores[0].fill_(-10)
    cls_scores[0][0, 1, 1, 1] = 0
    bucket_scores[0][0, ::3] = math.log(6)  # 0.6 of the outer bucket
    bucket_scores[0][0, 1::3] = math.log(1)
    bucket_scores[0][0, 2::3] = math.log(3)  # 0.3 of the inner one, no neighbour
    model = head(bbox_coder=dict(type='BucketingBBoxCoder', num_buckets=6, scale_factor=1.5))
    (detections,) = model.predict(SABLOuts(cls_scores, bucket_scores, offsets), [meta()])
    assert detections.scores.tolist() == [pytest.approx(0.5 * 0.6)]
    assert detections.bboxes.tolist() == [[3, 3, 13, 13]]  # 2 .. 14 with buckets of 2


@pytest.mark.parametrize(
    'change, word',
    [
        (dict(bbox_coder=dict(type='DeltaXYWHBBoxCoder')), 'BucketingBBoxCoder'),
        (dict(reg_decoded_bbox=True), 'reg_decoded_bbox'),
        (dict(square_anchor_generator=dict(SQUARES, scales=[1, 2])), 'one square'),
    ],
)
def test_what_is_refused(change, word):
    with pytest.raises((ValueError, TypeError), match=word):
        head(**change)


def test_tensors_are_those_of_the_levels():
    outs = head()([torch.rand(2, 4, 3, 2), torch.rand(2, 4, 1, 1)])
    assert [tuple(each[0].shape) for each in outs] == [(2, 2, 3, 2), (2, 8, 3, 2), (2, 8, 3, 2)]
