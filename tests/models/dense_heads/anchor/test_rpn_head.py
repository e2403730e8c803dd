from __future__ import annotations

import math

import pytest
import torch

from mmkit.models.dense_heads import RPNHead
from tests.models.scenes import batch_of, meta, truth, zeros

ANCHORS = dict(type='AnchorGenerator', scales=[1], ratios=[1.0], strides=[8])
TRAIN = dict(
    assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3),
    sampler=dict(type='RandomSampler', num=256, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=False),
    allowed_border=-1,
    pos_weight=-1,
)
TEST = dict(nms_pre=10, max_per_img=10, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0)


def head(**arguments):
    return RPNHead(
        **dict(in_channels=4, feat_channels=8, anchor_generator=ANCHORS, train_cfg=TRAIN, test_cfg=TEST) | arguments
    )


def test_names_and_number_of_convolutions():
    assert [name for name, _ in head().named_parameters()] == [
        f'{layer}.{kind}' for layer in ('rpn_conv', 'rpn_cls', 'rpn_reg') for kind in ('weight', 'bias')
    ]
    deep = head(num_convs=2)
    assert deep.rpn_conv[1].conv.weight.shape == (8, 8, 3, 3)
    assert deep([torch.zeros(1, 4, 2, 2)])[1][0].shape == (1, 4, 2, 2)
    with pytest.raises(ValueError, match='num_classes'):
        head(num_classes=2)


def test_every_object_is_of_the_one_class():
    losses = head().loss(zeros(1, 4), batch_of(truth(([4, 4, 12, 12], 5))))
    assert losses.keys() == {'loss_rpn_cls', 'loss_rpn_bbox'}
    assert losses['loss_rpn_cls'].item() == pytest.approx(math.log(2))
    assert losses['loss_rpn_bbox'].item() == 0


def test_proposals_are_suppressed_within_their_level_only():
    generator = dict(ANCHORS, scales=[1, 1], strides=[8, 8])  # twice the same anchor, on each of two levels
    built = head(anchor_generator=generator)
    first = torch.tensor([3.0, 2.0]).view(1, 2, 1, 1)
    second = torch.tensor([1.0, 4.0]).view(1, 2, 1, 1)
    boxes = [torch.zeros(1, 8, 1, 1)] * 2
    (proposals,) = built.predict(([first, second], boxes), [meta()], rescale=False)
    assert proposals.scores.tolist() == pytest.approx(torch.tensor([4.0, 3.0]).sigmoid().tolist())
    assert proposals.bboxes.tolist() == [[0, 0, 4, 4]] * 2
    assert proposals.labels.tolist() == [0, 0]
    (one,) = built.predict(([first, second], boxes), [meta(scale=2)], cfg=dict(TEST, max_per_img=1))
    assert one.bboxes.tolist() == [[0, 0, 2, 2]]


def test_the_best_of_each_level_take_part_and_boxes_must_have_a_size():
    scores, deltas = zeros(1, 4)
    scores[0][0, 0] = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    (best,) = head().predict((scores, deltas), [meta()], cfg=dict(TEST, nms_pre=3))
    assert best.bboxes.tolist() == [[4, 4, 12, 12], [0, 4, 4, 12], [4, 0, 12, 4]]
    (large,) = head().predict((scores, deltas), [meta()], cfg=dict(TEST, min_bbox_size=4))
    assert large.bboxes.tolist() == [[4, 4, 12, 12]]
    (none,) = head().predict((scores, deltas), [meta()], cfg=dict(TEST, min_bbox_size=8))
    assert len(none) == 0
