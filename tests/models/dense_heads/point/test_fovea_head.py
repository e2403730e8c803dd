from __future__ import annotations

import math

import pytest
import torch

from mmkit.models.dense_heads import FoveaHead
from tests.models.scenes import batch_of, meta, truth, zeros


def head(**arguments):
    return FoveaHead(
        **dict(
            num_classes=2,
            in_channels=4,
            feat_channels=4,
            stacked_convs=1,
            strides=[8],
            base_edge_list=[16],
            scale_ranges=[[8, 32]],
            test_cfg=dict(nms_pre=10, score_thr=0.5, nms=dict(type='nms', iou_threshold=0.6), max_per_img=10),
        )
        | arguments
    )


def test_targets_by_hand():
    levels = [torch.zeros(1, 2, 4, 4)]
    labels, distances = head().targets(levels, truth(([2, 2, 26, 26], 1), ([8, 8, 16, 16], 0)))
    # The middle of the large object, 9.2 to 18.8, holds the cell around (12, 12) only: so does the small one's.
    assert labels.view(4, 4).tolist() == [[2, 2, 2, 2], [2, 0, 2, 2], [2, 2, 2, 2], [2, 2, 2, 2]]
    torch.testing.assert_close(distances[5], torch.full((4,), math.log(4 / 16)))
    labels, distances = head(sigma=1.0).targets(levels, truth(([2, 2, 26, 26], 1), ([8, 8, 16, 16], 0)))
    assert labels.view(4, 4).tolist() == [[1, 1, 1, 2], [1, 0, 1, 2], [1, 1, 1, 2], [2, 2, 2, 2]]
    torch.testing.assert_close(distances[0].exp() * 16, torch.tensor([2.0, 2, 22, 22]))


def test_objects_of_another_level_are_background():
    labels, _ = head().targets([torch.zeros(1, 2, 4, 4)], truth(([0, 0, 33, 33], 1), ([8, 8, 15, 15], 0)))
    assert set(labels.tolist()) == {2}


def test_losses_by_hand():
    losses = head(loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=0.0, alpha=0.5)).loss(
        zeros(2, 4), batch_of(truth(([0, 0, 16, 16], 1)))
    )
    # Cells of 2x2 around the centre (8, 8): sigma 0.4 leaves none of their middles; the clamped region is empty.
    assert losses['loss_bbox'].item() == 0
    losses = head(sigma=1.0, loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=0.0, alpha=0.5)).loss(
        zeros(2, 4), batch_of(truth(([0, 0, 16, 16], 1)))
    )
    assert losses['loss_cls'].item() == pytest.approx(8 * 0.5 * math.log(2) / (4 + 1), rel=1e-5)
    # Distances of 4 and 12 pixels, and an edge of 16: |log(1/4)| and |log(3/4)| less half of beta, of 4 points.
    wanted = 2 * (math.log(4) + math.log(4 / 3) - 0.11)
    assert losses['loss_bbox'].item() == pytest.approx(wanted, rel=1e-4)


def test_boxes_by_hand():
    cls_scores, bbox_preds = zeros(2, 4, size=4)
    cls_scores[0].fill_(-9)
    cls_scores[0][0, 1, 1, 2] = 3
    bbox_preds[0] += torch.tensor([0.25, 0.5, 2.0, 0.5]).log().view(1, 4, 1, 1)
    (detections,) = head().predict((cls_scores, bbox_preds), [meta(32, 32)])
    assert detections.labels.tolist() == [1]
    torch.testing.assert_close(detections.bboxes, torch.tensor([[16.0, 4, 31, 20]]))


def test_a_base_edge_for_each_level():
    with pytest.raises(ValueError, match='FoveaHead: 2 base_edge_list for 1 strides'):
        head(base_edge_list=[16, 32])
