from __future__ import annotations

import math

import pytest
import torch

from mmkit.models.dense_heads import FSAFHead
from mmkit.models.dense_heads.anchor.anchor_head import AnchorOuts
from mmkit.models.dense_heads.anchor.fsaf_head import easiest_level
from tests.models.scenes import batch_of, meta, truth, zeros

ANCHORS = dict(type='AnchorGenerator', octave_base_scale=1, scales_per_octave=1, ratios=[1.0], strides=[8, 8])
ASSIGNER = dict(type='CenterRegionAssigner', pos_scale=0.2, neg_scale=0.5)


def head(**arguments):
    return FSAFHead(
        **dict(
            num_classes=2,
            in_channels=4,
            feat_channels=4,
            stacked_convs=1,
            anchor_generator=ANCHORS,
            bbox_coder=dict(type='TBLRBBoxCoder', normalizer=1.0),
            loss_cls=dict(type='FocalLoss', use_sigmoid=True, reduction='none'),
            loss_bbox=dict(type='IoULoss', reduction='none'),
            reg_decoded_bbox=True,
            train_cfg=dict(assigner=ASSIGNER, allowed_border=-1),
            test_cfg=dict(nms_pre=10, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.6), max_per_img=10),
        )
        | arguments
    )


def outs(first: float, second: float) -> AnchorOuts:
    """Two levels of the same size; distances to the sides in anchors."""
    cls_scores, _ = zeros(2, 4, num_levels=2)
    return AnchorOuts(cls_scores, [torch.full((1, 4, 2, 2), first), torch.full((1, 4, 2, 2), second)])


def test_losses_are_those_of_the_easiest_level():
    # The anchor at (8, 8) is positive on both levels; on the second one the box fits.
    losses = head().loss(outs(0.5, 1.0), batch_of(truth(([0, 0, 16, 16], 1))))
    assert losses['loss_bbox'].item() == pytest.approx(0, abs=1e-6)
    assert losses['num_pos'].item() == 1
    # The positive logit of the first level has no loss. Anchors of the other cells reach the shadow 4 .. 12 by an edge.
    assert losses['loss_cls'].item() == pytest.approx(math.log(2) * 0.25 * (0.25 + 14 * 0.75))
    other = head().loss(outs(1.0, 0.5), batch_of(truth(([0, 0, 16, 16], 1))))
    assert other['loss_cls'].item() == pytest.approx(losses['loss_cls'].item())


def test_the_level_of_the_least_mean_loss():
    losses = torch.tensor([1.0, 3, 1.5, 9, 8])
    objects, levels = torch.tensor([0, 0, 0, 2, 2]), torch.tensor([0, 0, 2, 1, 2])
    assert easiest_level(losses, objects, levels).tolist() == [2, 2, 2, 2, 2]
    assert easiest_level(losses * torch.tensor([1, 0, 1, 1, 2]), objects, levels).tolist() == [0, 0, 0, 1, 1]


def test_shadowed_classes_have_no_loss():
    """The anchor at (8, 8) is in the shadow of the object, whose middle is elsewhere."""
    gts = truth(([0, 0, 32, 32], 1))
    anchors = torch.cat(head().anchors(outs(1, 1).cls_scores))
    targets = head().targets(anchors, [(2, 2), (2, 2)], batch_of(gts))
    assert targets.objects.tolist() == [[-1] * 8]
    assert targets.label_weights[0].tolist() == [[1, 1], [1, 1], [1, 1], [1, 0]] * 2
    assert targets.num_neg == 8


def test_recall_needs_the_threshold():
    batch = batch_of(truth(([0, 0, 16, 16], 0)))
    cls_scores, bbox_preds = outs(1.0, 1.0)
    cls_scores = [each + torch.tensor([0.4, 0.0]).view(1, 2, 1, 1) for each in cls_scores]  # probability 0.6
    recalls = [
        head(score_threshold=threshold).loss(AnchorOuts(cls_scores, bbox_preds), batch)['pos_recall'].item()
        for threshold in (None, 0.5, 0.7)
    ]
    assert recalls == [100, 100, 0]


def test_boxes_grow_from_the_cell_only():
    model = head()
    model.init_weights()
    assert model.retina_reg.bias.tolist() == [0.25] * 4
    assert all((each >= 0).all() for each in model([torch.randn(1, 4, 2, 2)] * 2).bbox_preds)
    cls_scores, bbox_preds = outs(1.0, 1.0)
    cls_scores = [each - 9 for each in cls_scores]
    cls_scores[0][0, 1, 1, 1] = 4
    (detections,) = model.predict(AnchorOuts(cls_scores, bbox_preds), [meta()])
    assert detections.bboxes.tolist() == [[0, 0, 16, 16]] and detections.labels.tolist() == [1]


def test_what_is_refused():
    with pytest.raises(ValueError, match='use_sigmoid'):
        head(loss_cls=dict(type='CrossEntropyLoss', reduction='none'))
