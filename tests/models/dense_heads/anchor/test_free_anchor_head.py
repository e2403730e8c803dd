"""On a map of 2 x 2 cells of 8 pixels the anchors are the cells."""

from __future__ import annotations

import math

import pytest
import torch

from mmkit.models.dense_heads import FreeAnchorRetinaHead
from mmkit.models.dense_heads.anchor.free_anchor_head import mean_max
from tests.models.scenes import batch_of, truth, zeros

LN2 = math.log(2)
OBJECT = ([8, 8, 16, 16], 1)


def head(**arguments):
    cfg = dict(
        num_classes=2,
        in_channels=4,
        feat_channels=8,
        stacked_convs=1,
        anchor_generator=dict(type='AnchorGenerator', scales=[1], ratios=[1.0], strides=[8], center_offset=0.5),
        pre_anchor_topk=1,
    )
    return FreeAnchorRetinaHead(**cfg | arguments)


def outs(made, scores=0.0):
    cls_scores, bbox_preds = zeros(2, 4)
    return type(made([torch.zeros(1, 4, 2, 2)]))([cls_scores[0] + scores], bbox_preds)


def test_losses_by_hand():
    made = head()
    losses = made.loss(outs(made), batch_of(truth(OBJECT)))
    assert losses['positive_bag_loss'].item() == pytest.approx(0.5 * LN2)  # the anchor fits, its probability is 1/2
    # The anchor of the object is spared for its class: 7 of 8 probabilities are background.
    assert losses['negative_bag_loss'].item() == pytest.approx(0.5 * 7 * LN2 / 4, rel=1e-5)
    nothing = made.loss(outs(made), batch_of(truth()))
    assert nothing['positive_bag_loss'] == 0
    assert nothing['negative_bag_loss'].item() == pytest.approx(0.5 * 8 * LN2 / 4)


def test_boxes_may_be_objects_above_a_threshold():
    made = head(bbox_thr=0.25)
    anchors = made.anchors([torch.zeros(1, 1, 2, 2)])[0]
    probs = made.box_probs(anchors, torch.zeros(4, 4), truth(([8, 8, 16, 12], 1), ([0, 4, 8, 12], 0)))
    # IoUs: the last anchor 1/2 with the first object; the first and third 1/3 with the second.
    assert probs.tolist() == [[1, 0], [0, 0], [1, 0], [0, 1]]
    assert not head().box_probs(anchors, torch.zeros(4, 4), truth(([8, 8, 16, 12], 1))).any()  # 1/2 is below 0.6


def test_the_best_of_a_bag_dominates_as_it_becomes_sure():
    probs = torch.tensor([[0.5, 0.5], [0.0, 1.0], [0.2, 0.6]])
    means = mean_max(probs).tolist()
    assert means[:2] == pytest.approx([0.5, 1])
    assert means[2] == pytest.approx((0.2 / 0.8 + 0.6 / 0.4) / (1 / 0.8 + 1 / 0.4))


def test_classes_with_a_softmax():
    with pytest.raises(ValueError, match='must be of sigmoids'):
        head(loss_cls=dict(type='CrossEntropyLoss'))
