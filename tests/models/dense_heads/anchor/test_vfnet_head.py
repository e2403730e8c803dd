from __future__ import annotations

import math

import pytest
import torch

from mmkit.models.dense_heads import VFNetHead
from mmkit.models.dense_heads.anchor.vfnet_head import star_offsets
from tests.models.scenes import batch_of, meta, truth


def head(**arguments):
    return VFNetHead(
        **dict(
            num_classes=2,
            in_channels=4,
            feat_channels=4,
            stacked_convs=1,
            norm_cfg=None,
            strides=[8, 16],
            regress_ranges=[[-1, 32], [32, 1e8]],
            anchor_generator=dict(type='AnchorGenerator', scales=[1], ratios=[1.0], center_offset=0.0, strides=[8, 16]),
            train_cfg=dict(assigner=dict(type='ATSSAssigner', topk=9)),
            test_cfg=dict(nms_pre=10, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.6), max_per_img=10),
        )
        | arguments
    )


def test_the_star_touches_centre_sides_and_corners():
    distances = torch.tensor([8.0, 16, 24, 32]).view(1, 4, 1, 1)  # left, top, right, bottom
    points = star_offsets(distances, stride=8).view(9, 2)
    points = points + torch.tensor([[dy, dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)])
    wanted = [[y, x] for y in (-2, 0, 4) for x in (-1, 0, 3)]
    assert points.tolist() == wanted


def outs(distances):
    """One level says nothing, the other one has these distances everywhere."""
    sizes = [2, 1]
    boxes = [torch.tensor(distances).view(1, 4, 1, 1).expand(1, 4, size, size) for size in sizes]
    return [torch.zeros(1, 2, size, size) for size in sizes], boxes, boxes


def test_losses_by_hand():
    # The point (8, 8) of the first level lies inside; its box fits.
    losses = head().loss(outs([8.0, 8, 8, 8]), batch_of(truth(([0, 0, 16, 16], 1))))
    assert losses['loss_bbox'].item() == pytest.approx(0, abs=1e-6)
    assert losses['loss_bbox_rf'].item() == pytest.approx(0, abs=1e-6)
    # Nine logits of 0 for negatives, each weighted by 0.75 / 4, and one for the IoU 1.
    assert losses['loss_cls'].item() == pytest.approx((9 * 0.75 / 4 + 1) * math.log(2), rel=1e-5)


def test_boxes_are_those_of_the_second_estimate():
    scores, _, refined = outs([4.0, 4, 8, 8])
    scores[0][0, 1, 1, 1] = 4
    scores[0][0, 0] = scores[1][0] = -9
    scores[0][0, 1, 0] = scores[0][0, 1, 1, 0] = -9
    (detections,) = head().predict((scores, [each * 2 for each in refined], refined), [meta(32, 32)])
    assert detections.bboxes.tolist() == [[4, 4, 16, 16]]


def test_the_gradient_through_the_star_is_damped():
    torch.manual_seed(0)
    feats = [torch.rand(1, 4, 6, 6), torch.rand(1, 4, 3, 3)]
    norms = []
    for factor in (0.0, 0.1):
        torch.manual_seed(0)
        model = head(gradient_mul=factor, bbox_norm_type='stride')
        sum(level.sum() for level in model(feats).cls_scores).backward()
        norms.append(model.vfnet_reg.weight.grad.norm().item())
    assert norms[0] == 0 and norms[1] > 0


@pytest.mark.parametrize(
    'change, word',
    [
        (dict(use_atss=False), 'use_atss'),
        (dict(bbox_norm_type='pixel'), 'bbox_norm_type'),
        (dict(strides=[8, 32]), 'strides'),
    ],
)
def test_what_is_refused(change, word):
    with pytest.raises(ValueError, match=word):
        head(**change)
