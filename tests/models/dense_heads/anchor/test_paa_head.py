from __future__ import annotations

import math

import pytest
import torch

from mmkit.models.dense_heads import PAAHead
from mmkit.models.dense_heads.anchor.paa_head import Candidates, split_by_two_gaussians, vote
from mmkit.structures import Instances
from tests.models.scenes import batch_of, meta, truth, zeros


def head(**arguments):
    return PAAHead(
        **dict(
            num_classes=2,
            in_channels=4,
            feat_channels=8,
            stacked_convs=1,
            norm_cfg=None,
            anchor_generator=dict(type='AnchorGenerator', scales=[1], ratios=[1.0], strides=[8]),
            loss_cls=dict(type='FocalLoss', use_sigmoid=True),
            loss_bbox=dict(type='IoULoss', linear=True),
            train_cfg=dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.1, neg_iou_thr=0.1, min_pos_iou=0)),
            test_cfg=dict(nms_pre=10, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.6), max_per_img=10),
        )
        | arguments
    )


def test_two_clusters_are_told_apart():
    values = torch.tensor([0.9, 1.0, 1.1, 1.0, 4.9, 5.0, 5.1])
    is_lower, likelihoods = split_by_two_gaussians(values)
    assert is_lower.tolist() == [True] * 4 + [False] * 3
    # Mean 1 and variance 0.005 with the share 4/7.
    assert likelihoods[1].item() == pytest.approx(math.log(4 / 7) - 0.5 * math.log(2 * math.pi * 0.005), abs=1e-3)


def test_losses_by_hand():
    losses = head().loss(zeros(2, 4, 1), batch_of(truth(([4, 4, 12, 12], 1))))
    # IoU 1 with the anchor (4, 4, 12, 12), 0 with the others, which touch it: one candidate, which is taken.
    assert losses['loss_bbox'].item() == pytest.approx(0, abs=1e-6)
    assert losses['loss_iou'].item() == pytest.approx(math.log(2))
    assert losses['loss_cls'].item() == pytest.approx(math.log(2) * 0.25 * (0.25 + 7 * 0.75))


def test_candidates_with_a_high_loss_become_background():
    model = head()
    losses = torch.tensor([1.0, 5.0, 1.02, 5.1, 0.98, 7.0])
    candidates = Candidates(torch.arange(6), torch.tensor([0, 0, 0, 0, 0, 1]), torch.ones(6))
    chosen = model._separate(losses, candidates, torch.tensor([0, 0, 0, 0, 1, 1]))
    assert chosen.tolist()[1] is False and chosen.tolist()[3] is False
    assert chosen[0] and chosen[4] and chosen[5]  # up to the most typical one; a single candidate is taken


def test_scores_are_roots_and_boxes_are_voted():
    cls_scores, bbox_preds, ious = zeros(2, 4, 1)
    cls_scores[0].fill_(-10)
    cls_scores[0][0, 0, 1, 1] = 2
    (detections,) = head().predict((cls_scores, bbox_preds, ious), [meta()])
    assert detections.scores.tolist() == [pytest.approx(math.sqrt(torch.tensor(2.0).sigmoid().item() / 2))]
    assert detections.bboxes.tolist() == [[4, 4, 12, 12]]


def test_votes_are_of_the_class_and_near():
    detections = Instances(bboxes=torch.tensor([[0.0, 0, 10, 10]]), labels=torch.tensor([1]), scores=torch.ones(1))
    candidates = Instances(
        bboxes=torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 12], [0, 0, 10, 40], [50, 50, 60, 60]]),
        labels=torch.tensor([1, 1, 0, 1]),
        scores=torch.tensor([1.0, 0.5, 1.0, 1.0]),
    )
    weight = 0.5 * math.exp(-((1 - 10 / 12) ** 2) / 0.025)
    wanted = (10 + 12 * weight) / (1 + weight)
    assert vote(detections, candidates).bboxes[0].tolist() == pytest.approx([0, 0, 10, wanted])


def test_another_covariance():
    with pytest.raises(ValueError, match='covariance_type'):
        head(covariance_type='tied')
