from __future__ import annotations

import math

import pytest
import torch

from mmkit.models.dense_heads import RTMDetHead, RTMDetSepBNHead
from mmkit.models.dense_heads.point.rtmdet_head import RTMDetOuts
from mmkit.models.dense_heads.point.rtmdet_settings import RTMDetTraining
from mmkit.models.dense_heads.point.rtmdet_targets import rtmdet_targets
from tests.models.scenes import batch_of, meta, truth

LN2 = math.log(2)
TRAIN = dict(assigner=dict(type='DynamicSoftLabelAssigner', topk=13), allowed_border=-1, pos_weight=-1, debug=False)
SMALL = dict(
    num_classes=2,
    in_channels=4,
    feat_channels=4,
    stacked_convs=1,
    with_objectness=False,
    anchor_generator=dict(type='MlvlPointGenerator', offset=0, strides=[8]),
    train_cfg=TRAIN,
    test_cfg=dict(nms_pre=10, score_thr=0.3, nms=dict(type='nms', iou_threshold=0.65), max_per_img=5),
)
TWO_LEVELS = dict(SMALL, anchor_generator=dict(type='MlvlPointGenerator', offset=0, strides=[8, 16]))
FEATS = [torch.rand(2, 4, 4, 4), torch.rand(2, 4, 2, 2)]


def outs(*distances: float) -> RTMDetOuts:
    """Logits of 0 and equal distances at the four points (0, 0), (8, 0), (0, 8), (8, 8) of one image."""
    return RTMDetOuts([torch.zeros(1, 2, 2, 2)], [torch.tensor(distances).view(1, 4, 1, 1).repeat(1, 1, 2, 2)])


def test_losses_by_hand() -> None:
    # Points on the border are outside, so that only (8, 8) is positive; its box overlaps the object by a half.
    losses = RTMDetSepBNHead(**SMALL).loss(outs(8, 8, 8, 0), batch_of(truth(([0, 0, 16, 16], 1))))
    assert losses.keys() == {'loss_cls', 'loss_bbox'}
    # Seven logits of 0 with the target 0, and one whose target 1/2 they meet; the quality is below 1 in sum.
    assert losses['loss_cls'].item() == pytest.approx(7 * LN2 / 4)
    assert losses['loss_bbox'].item() == pytest.approx(2 * 0.5 * 0.5)


def test_targets_leave_out_points_beyond_the_padding() -> None:
    points = torch.tensor([[8.0, 8, 8, 8], [4, 4, 8, 8], [99, 8, 8, 8]])
    bboxes = torch.tensor([[0.0, 0, 16, 16]]).expand(1, 3, 4)
    valid = torch.tensor([[True, True, False]])
    settings = RTMDetTraining.from_cfg(dict(TRAIN, pos_weight=3), 'RTMDetHead')
    targets = rtmdet_targets(settings, points, torch.zeros(1, 3, 2), bboxes, valid, [truth(([0, 0, 16, 16], 1))])
    assert targets.labels.tolist() == [[1, 1, 2]] and targets.gt_inds.tolist() == [[0, 0, -1]]
    assert targets.label_weights.tolist() == [[3, 3, 0]]
    assert targets.quality.tolist() == [pytest.approx([1, 1, 0])]


def test_predictions() -> None:
    given = outs(4, 4, 8, 8)
    given.cls_scores[0].fill_(-9)
    given.cls_scores[0][0, :, 1, 1] = torch.tensor([0.0, 1])
    (detections,) = RTMDetHead(**SMALL, norm_cfg=None).predict(given, [meta(scale=2)])
    assert detections.labels.tolist() == [1, 0]
    assert detections.scores.tolist() == pytest.approx([1 / (1 + math.exp(-1)), 0.5])
    assert detections.bboxes.tolist() == [[2, 2, 8, 8]] * 2  # clipped
    inverted = outs(4, 4, -5, 8)._replace(cls_scores=given.cls_scores)
    head = RTMDetSepBNHead(**{**SMALL, 'test_cfg': dict(SMALL['test_cfg'], min_bbox_size=0)})
    assert len(head.predict(inverted, [meta()])[0]) == 0


def test_distances_are_strides_their_logarithms_or_scaled_logarithms() -> None:
    for head, expected in (
        (RTMDetSepBNHead(**TWO_LEVELS), (8.0, 16.0)),
        (RTMDetSepBNHead(**TWO_LEVELS, exp_on_reg=True), (8 * math.e, 16 * math.e)),
        (RTMDetHead(**TWO_LEVELS, norm_cfg=None), (8.0, 2 * 16.0)),
    ):
        head.init_weights()
        for layer in head.rtm_reg.modules():
            if isinstance(layer, torch.nn.Conv2d):
                torch.nn.init.zeros_(layer.weight)
        if not head.separate_levels:
            torch.nn.init.constant_(head.scales[1].scale, 2.0)
        for distances, value in zip(head(FEATS).distances, expected, strict=True):
            assert torch.allclose(distances, torch.tensor(value))


def test_objectness_has_a_part_in_the_scores() -> None:
    head = RTMDetSepBNHead(**{**TWO_LEVELS, 'with_objectness': True})
    head.init_weights()
    for level in range(2):
        torch.nn.init.zeros_(head.rtm_cls[level].weight), torch.nn.init.zeros_(head.rtm_obj[level].weight)
        torch.nn.init.constant_(head.rtm_cls[level].bias, math.log(0.8 / 0.2))
        torch.nn.init.constant_(head.rtm_obj[level].bias, math.log(0.2 / 0.8))
    assert torch.allclose(head(FEATS).cls_scores[0].sigmoid(), torch.tensor(0.4))


@pytest.mark.parametrize('depthwise', [False, True])
def test_levels_share_convolutions_but_not_norms(depthwise: bool) -> None:
    head = RTMDetSepBNHead(**TWO_LEVELS, use_depthwise=depthwise)
    shared = [name for name, _ in head.named_parameters() if '_convs.1.' in name and '.conv.' in name]
    assert not shared and any('_convs.1.' in name and '.bn.' in name for name, _ in head.named_parameters())
    separate = RTMDetSepBNHead(**TWO_LEVELS, use_depthwise=depthwise, share_conv=False)
    assert any('_convs.1.' in name and '.conv.' in name for name, _ in separate.named_parameters())
    assert head.state_dict().keys() == separate.state_dict().keys()


def test_classes_are_improbable_at_the_start() -> None:
    head = RTMDetSepBNHead(**TWO_LEVELS)
    head.init_weights()
    assert head.rtm_cls[1].bias.sigmoid().tolist() == pytest.approx([0.01] * 2)


@pytest.mark.parametrize(
    'arguments, word',
    [
        (dict(anchor_generator=dict(type='AnchorGenerator', ratios=[1.0], scales=[8], strides=[8])), 'AnchorGenerator'),
        (dict(loss_cls=dict(type='FocalLoss')), 'QualityFocalLoss'),
        (dict(train_cfg=dict(TRAIN, allowed_border=0)), 'allowed_border'),
        (dict(train_cfg=dict(assigner=dict(type='ATSSAssigner', topk=9))), 'num_level_bboxes'),
    ],
)
def test_mistakes(arguments: dict, word: str) -> None:
    with pytest.raises((TypeError, ValueError), match=word):
        RTMDetSepBNHead(**{**SMALL, **arguments})
