from __future__ import annotations

import math

import pytest
import torch

from mmkit.models.dense_heads import GARetinaHead, GARPNHead, GuidedAnchorHead
from mmkit.models.dense_heads.anchor.guided_anchor_head import GuidedOuts
from mmkit.models.dense_heads.anchor.guided_training import location_targets
from tests.models.scenes import batch_of, meta, truth, zeros

SQUARES = dict(type='AnchorGenerator', scales=[1], ratios=[1.0], strides=[8])
APPROXS = dict(type='AnchorGenerator', scales=[1], ratios=[0.25, 1.0, 4.0], strides=[8])
BY_IOU = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0.4)
TRAIN = dict(assigner=BY_IOU, ga_assigner=dict(BY_IOU, type='ApproxMaxIoUAssigner'), center_ratio=0.2, ignore_ratio=0.5)
TEST = dict(nms_pre=10, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.6), max_per_img=10)
ARGUMENTS = dict(
    in_channels=4,
    feat_channels=4,
    approx_anchor_generator=APPROXS,
    square_anchor_generator=SQUARES,
    deform_groups=1,
    train_cfg=TRAIN,
    test_cfg=TEST,
)


def head(**arguments):
    return GuidedAnchorHead(num_classes=2, **ARGUMENTS | arguments)


def test_names_of_parameters():
    assert dict(GARetinaHead(2, stacked_convs=1, **ARGUMENTS).state_dict()).keys() == {
        *(f'{tower}.0.conv.{kind}' for tower in ('cls_convs', 'reg_convs') for kind in ('weight', 'bias')),
        *(f'{name}.{kind}' for name in ('conv_loc', 'conv_shape', 'retina_cls', 'retina_reg')
          for kind in ('weight', 'bias')),
        *(f'feature_adaption_{name}.conv_{layer}.weight' for name in ('cls', 'reg')
          for layer in ('offset', 'adaption')),
    }  # fmt: skip
    assert dict(GARPNHead(**ARGUMENTS).state_dict()).keys() == {
        *(f'{name}.{kind}' for name in ('rpn_conv', 'conv_loc', 'conv_shape', 'conv_cls', 'conv_reg')
          for kind in ('weight', 'bias')),
        *(f'feature_adaption.conv_{layer}.weight' for layer in ('offset', 'adaption')),
    }  # fmt: skip


def test_locations():
    sizes, strides = [(8, 8), (4, 4), (2, 2)], [4, 8, 16]
    gts = truth(([0, 0, 16, 16], 0))  # two cells of 8, as normal for the second level
    targets, weights = location_targets(
        sizes, strides, [gts, truth()], base_scale=2, center_ratio=0.2, ignore_ratio=0.5
    )
    first, second, third = (each[0].view(size) for each, size in zip(targets.split([64, 16, 4], dim=1), sizes))
    assert first.sum() == third.sum() == 0
    assert second.tolist() == [[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    first, second, third = (each[0].view(size) for each, size in zip(weights.split([64, 16, 4], dim=1), sizes))
    # Half the sides: 0.5 .. 1.5 cells of 8, of which the ends are rounded to even.
    assert (second[:3, :3] == torch.tensor([[0.0, 0, 0], [0, 1, 0], [0, 0, 0]])).all()
    assert second[3:].tolist() == [pytest.approx([0.1] * 4)]
    assert (first == 0).nonzero().amin(dim=0).tolist() == [1, 1]  # 1 .. 3 cells of 4
    assert (first == 0).nonzero().amax(dim=0).tolist() == [3, 3]
    assert third.sum() == 0  # 0.25 .. 0.75 cells of 16, rounded to 0 .. 1
    assert targets[1].sum() == 0 and weights[1].tolist() == pytest.approx([0.1] * 84)


def test_losses_by_hand():
    # The cell at (8, 8) gets the object: of its approxs, the wide one fits best (IoU 1/2).
    outs = GuidedOuts(*zeros(2, 4, 2, 1))
    losses = head().loss(outs, batch_of(truth(([0, 6, 16, 10], 1))))
    assert losses.keys() == {'loss_cls', 'loss_bbox', 'loss_shape', 'loss_loc'}
    # The guided anchors are the squares; that at (8, 8) overlaps by 32 / 96 only, so all are background.
    assert losses['loss_cls'].item() == pytest.approx(4 * 2 * math.log(2))
    assert losses['loss_bbox'].item() == 0
    # Width 8 of 16, height 8 of 4: each factor is 1/2, smooth L1 of 1/2 with beta 0.2 is 0.4.
    assert losses['loss_shape'].item() == pytest.approx(2 * 0.4, abs=1e-3)


def test_guided_anchors_are_what_is_assigned():
    cls_scores, bbox_preds, shapes, locations = zeros(2, 4, 2, 1)
    shapes[0][0, :, 1, 1] = torch.tensor([math.log(2), -math.log(2)])
    losses = head().loss(GuidedOuts(cls_scores, bbox_preds, shapes, locations), batch_of(truth(([0, 6, 16, 10], 1))))
    assert losses['loss_shape'].item() == pytest.approx(0, abs=1e-3)
    assert losses['loss_bbox'].item() == pytest.approx(0, abs=1e-6)
    assert losses['loss_cls'].item() == pytest.approx(4 * 2 * math.log(2))


def test_cells_that_are_no_likely_location_are_left_out():
    cls_scores, bbox_preds, shapes, locations = zeros(2, 4, 2, 1)
    locations[0].fill_(-10)
    locations[0][0, 0, 1, 1] = 0
    shapes[0][0, :, 1, 1] = torch.tensor([0.0, math.log(0.5)])
    (detections,) = head().predict(GuidedOuts(cls_scores, bbox_preds, shapes, locations), [meta()])
    assert detections.bboxes.tolist() == [[4, 6, 12, 10]] * 2  # once for each class
    boxes, scores = head().decode(GuidedOuts(cls_scores, bbox_preds, shapes, locations), [meta()])
    assert boxes.shape == (1, 4, 4) and scores.tolist() == [[[0.5, 0.5]] * 4]


def test_the_best_anchors_go_on_with_all_their_classes():
    cls_scores, *others = zeros(2, 4, 2, 1)
    cls_scores[0][0, 0] = torch.tensor([[3.0, 1], [0, 0]])
    cls_scores[0][0, 1] = torch.tensor([[1.0, 2], [0, 0]])
    (detections,) = head().predict(GuidedOuts(cls_scores, *others), [meta()], cfg=dict(TEST, nms_pre=1))
    assert detections.scores.tolist() == pytest.approx(torch.tensor([3.0, 1]).sigmoid().tolist())


def test_proposals_of_likely_cells_limited_in_each_level():
    rpn = GARPNHead(**ARGUMENTS)
    cls_scores, bbox_preds, shapes, locations = zeros(1, 4, 2, 1)
    cls_scores[0][0, 0] = torch.tensor([[9.0, 1], [2, 3]])
    locations[0][0, 0, 0, 0] = -10
    outs = GuidedOuts(cls_scores, bbox_preds, shapes, locations)
    cfg = dict(TEST, min_bbox_size=0)
    (proposals,) = rpn.predict(outs, [meta()], cfg=cfg)
    assert proposals.scores.tolist() == pytest.approx(torch.tensor([3.0, 2, 1]).sigmoid().tolist())
    assert proposals.bboxes.tolist() == [[4, 4, 12, 12], [0, 4, 4, 12], [4, 0, 12, 4]]
    (two,) = rpn.predict(outs, [meta()], cfg=dict(cfg, nms_post=2))
    assert len(two) == 2
    assert rpn.decode_proposals(outs, [meta()])[0, :3].tolist() == proposals.bboxes.tolist()


def test_the_offsets_give_no_gradient_to_the_shapes():
    torch.manual_seed(0)
    model = head()
    outs = model([torch.rand(1, 4, 2, 2)])
    outs.cls_scores[0].sum().backward()
    assert model.conv_shape.weight.grad is None
    assert model.feature_adaption.conv_offset.weight.grad is not None


@pytest.mark.parametrize(
    'change, word',
    [
        (dict(square_anchor_generator=dict(SQUARES, scales=[1, 2])), 'one square'),
        (dict(approx_anchor_generator=dict(APPROXS, strides=[4])), 'strides'),
        (dict(anchor_coder=dict(type='TBLRBBoxCoder')), 'anchor_coder'),
        (dict(train_cfg=dict(TRAIN, assigner=dict(BY_IOU, type='ApproxMaxIoUAssigner'))), 'approxs'),
    ],
)
def test_what_is_refused(change, word):
    with pytest.raises((ValueError, TypeError), match=word):
        head(**change)
    with pytest.raises(ValueError, match='num_classes'):
        GARPNHead(num_classes=2, **ARGUMENTS)
