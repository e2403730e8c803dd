from __future__ import annotations

import math

import pytest
import torch

from mmkit.models.dense_heads import FreeAnchorRetinaHead
from mmkit.models.dense_heads.anchor.anchor_head import AnchorOuts
from tests.models.scenes import batch_of, truth, zeros


def head(**arguments):
    return FreeAnchorRetinaHead(
        **dict(
            num_classes=2,
            in_channels=4,
            feat_channels=4,
            stacked_convs=1,
            anchor_generator=dict(type='AnchorGenerator', scales=[1], ratios=[1.0], strides=[8]),
            loss_bbox=dict(type='SmoothL1Loss', beta=1.0),
            pre_anchor_topk=1,
        )
        | arguments
    )


def test_losses_by_hand():
    losses = head().loss(AnchorOuts(*zeros(2, 4)), batch_of(truth(([4, 4, 12, 12], 1))))
    # The bag is the anchor that fits: its probability is 1/2.
    assert losses['positive_bag_loss'].item() == pytest.approx(0.5 * math.log(2))
    # Of 8 pairs of an anchor and a class all but that one are negative: (1/2) ** 2 * log 2 each, half of it.
    assert losses['negative_bag_loss'].item() == pytest.approx(0.5 * 7 * 0.25 * math.log(2))


def test_a_bag_leans_towards_its_surest_anchor():
    cls_scores, bbox_preds = zeros(2, 4)
    cls_scores[0][0, 1, 1, 1] = math.log(9)  # 0.9 at the anchor that fits
    losses = head(pre_anchor_topk=4).loss(AnchorOuts(cls_scores, bbox_preds), batch_of(truth(([4, 4, 12, 12], 1))))
    likelihoods = torch.tensor([0.9, *(0.5 * math.exp(-each) for each in (0.5, 0.5, 1))])  # deltas of 1 cost 1/2
    weights = 1 / (1 - likelihoods)
    mean = (weights * likelihoods).sum() / weights.sum()
    assert losses['positive_bag_loss'].item() == pytest.approx(-0.5 * math.log(mean), rel=1e-5)


def test_boxes_near_an_object_are_no_negatives_of_its_class():
    anchors = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 7], [20, 20, 30, 30]])
    gts = truth(([0, 0, 10, 10], 0), ([20, 20, 30, 27], 1), ([0, 0, 10, 8], 0))
    certain = head().object_probabilities(torch.zeros(4, 4), gts, anchors)
    # Overlaps 1, 0.8, 0.7 with the first: from 0.6 to the best. The best of the second is 0.7. The third: 0.8, 1, 7/8.
    first, third = [1, 0.5, 0.25, 0], [0.5, 1, 0.6875, 0]
    assert certain[:, 0].tolist() == pytest.approx([max(pair) for pair in zip(first, third)], abs=1e-5)
    assert certain[:, 1].tolist() == pytest.approx([0, 0, 0, 1])
    assert head().object_probabilities(torch.zeros(4, 4), truth(), anchors).tolist() == [[0, 0]] * 4


def test_a_bag_has_no_more_anchors_than_there_are():
    losses = head(pre_anchor_topk=50).loss(AnchorOuts(*zeros(2, 4)), batch_of(truth(([4, 4, 12, 12], 1))))
    assert losses['negative_bag_loss'].item() == pytest.approx(0.5 * 7 * 0.25 * math.log(2) / 50)


@pytest.mark.parametrize(
    'change, word',
    [(dict(loss_cls=dict(type='CrossEntropyLoss')), 'use_sigmoid'), (dict(reg_decoded_bbox=True), 'deltas')],
)
def test_what_is_refused(change, word):
    with pytest.raises(ValueError, match=word):
        head(**change)
