from __future__ import annotations

import math

import pytest
import torch

from mmkit.models.dense_heads import YOLOXHead
from tests.models.scenes import batch_of, meta, truth, zeros

LN2 = math.log(2)
OBJECT = truth(([0, 0, 16, 16], 1))


def head(**arguments):
    return YOLOXHead(
        **dict(
            num_classes=2,
            in_channels=4,
            feat_channels=8,
            strides=[8],
            train_cfg=dict(assigner=dict(type='SimOTAAssigner', center_radius=2.5)),
            test_cfg=dict(score_thr=0.25, nms=dict(type='nms', iou_threshold=0.65)),
        )
        | arguments
    )


def test_decode():
    priors = torch.tensor([[8.0, 16, 8, 8]])
    preds = torch.tensor([[0.5, 1, math.log(2), 0]])
    assert head().decode_boxes(priors, preds, (64, 64)).tolist() == [[4, 20, 20, 28]]


def test_losses_by_hand():
    # All boxes are 8 x 8; the one around (8, 8) has the greatest IoU, 1/4, and is the only one chosen.
    built = head()
    losses = built.loss(zeros(2, 4, 1), batch_of(OBJECT))
    assert losses.keys() == {'loss_cls', 'loss_bbox', 'loss_obj'}
    assert losses['loss_cls'].item() == pytest.approx(2 * LN2)
    assert losses['loss_bbox'].item() == pytest.approx(5 * (1 - 1 / 16))
    assert losses['loss_obj'].item() == pytest.approx(4 * LN2)
    built.use_l1 = True
    assert built.loss(zeros(2, 4, 1), batch_of(OBJECT))['loss_l1'].item() == pytest.approx(2 * LN2)


def test_targets():
    (priors,) = head().priors([torch.zeros(1, 2, 2, 2)])
    assert priors.tolist() == [[0, 0, 8, 8], [8, 0, 8, 8], [0, 8, 8, 8], [8, 8, 8, 8]]
    bboxes = head().decode_boxes(priors, torch.zeros(4, 4), (16, 16))
    result = head().targets(priors, bboxes, torch.full((4, 2), 0.25), OBJECT)
    assert result.positive.tolist() == [False, False, False, True]
    assert result.scores.tolist() == [pytest.approx([0, 0.25])]
    assert result.bboxes.tolist() == [[0, 0, 16, 16]]
    assert result.offsets.tolist() == [pytest.approx([0, 0, LN2, LN2])]
    empty = head().targets(priors, bboxes, torch.full((4, 2), 0.25), truth())
    assert not empty.positive.any() and empty.scores.shape == (0, 2) and empty.offsets.shape == (0, 4)


def test_predictions():
    cls_scores, bbox_preds, objectness = zeros(2, 4, 1)
    cls_scores[0].fill_(-9)
    cls_scores[0][0, :, 1, 1] = torch.tensor([0.0, -1])  # only the best class of a box counts: 1/2 * 1/2
    cls_scores[0][0, :, 0, 1] = torch.tensor([0.5, 1])
    (detections,) = head().predict((cls_scores, bbox_preds, objectness), [meta(scale=2)])
    assert detections.labels.tolist() == [1, 0]
    assert detections.scores.tolist() == pytest.approx([torch.tensor(1.0).sigmoid().item() / 2, 0.25])
    assert detections.bboxes.tolist() == [[2, -2, 6, 2], [2, 2, 6, 6]]  # not clipped


def test_layers_are_of_each_level():
    names = head(strides=[8, 16], stacked_convs=1, use_depthwise=True).state_dict()
    assert 'multi_level_cls_convs.1.0.depthwise_conv.conv.weight' in names
    assert names['multi_level_conv_obj.1.weight'].shape == (1, 8, 1, 1)
    assert 'multi_level_reg_convs.0.1.conv.conv_offset.weight' in head(dcn_on_last_conv=True).state_dict()
    with pytest.warns(UserWarning, match='bias'):
        assert 'multi_level_reg_convs.0.0.conv.bias' in head(conv_bias=True).state_dict()


def test_objects_are_improbable_at_the_start():
    built = head()
    built.init_weights()
    assert built.multi_level_conv_obj[0].bias.sigmoid().item() == pytest.approx(0.01)
    assert built.multi_level_conv_cls[0].bias.sigmoid().tolist() == pytest.approx([0.01] * 2)
