from __future__ import annotations

import math

import pytest
import torch

from mmkit.models import build_head
from mmkit.models.roi_heads import SABLHead
from mmkit.models.roi_heads.roi_settings import RoITestSettings
from mmkit.structures import Instances
from tests.models.roi_heads.parts import EXTRACTOR, TEST, TRAIN, feats, proposals, regions, samples, scene
from tests.models.scenes import batch_of, meta, truth

ARGUMENTS = dict(
    num_classes=3,
    cls_in_channels=4,
    reg_in_channels=4,
    roi_feat_size=2,
    cls_out_channels=6,
    bbox_coder=dict(type='BucketingBBoxCoder', num_buckets=4, scale_factor=2.0),
)
GTS = truth(([8, 15, 19, 30], 1))


def head(**arguments):
    return SABLHead(**ARGUMENTS | arguments)


def test_names_of_parameters():
    names = {name.rpartition('.')[0] for name, _ in head(num_reg_fcs=1).named_parameters()}
    assert names == {
        *('cls_fcs.0', 'fc_cls', 'upsample_x', 'upsample_y', 'reg_pre_convs.0.conv', 'reg_pre_convs.1.conv'),
        *('reg_post_conv_xs.0.conv', 'reg_post_conv_ys.0.conv', 'reg_conv_att_x', 'reg_conv_att_y'),
        *('reg_cls_fcs.0', 'reg_offset_fcs.0', 'fc_reg_cls', 'fc_reg_offset'),
    }


def test_each_side_goes_from_outside_to_inside():
    model = head(reg_pre_num=0, reg_post_num=0, reg_feat_up_ratio=1, roi_feat_size=4)
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    model.fc_reg_offset.weight.data[:] = 0.25  # mean over the channels
    rows = torch.arange(4.0).view(1, 1, 4, 1) * 10
    columns = torch.arange(4.0).view(1, 1, 1, 4)
    _, bbox_pred = model((rows + columns).expand(1, 4, 4, 4))
    assert bbox_pred is not None
    scores, offsets = model.buckets.split(bbox_pred[0])
    assert scores.abs().sum() == 0
    # The attention is even: along x the mean row 15 is added, along y the mean column 1.5.
    assert offsets.tolist() == [[15, 16], [18, 17], [1.5, 11.5], [31.5, 21.5]]


def test_losses_by_hand():
    sampled = samples([[10, 20, 20, 40]], [[0, 0, 4, 4]], GTS, [0])
    model = head()
    targets = model.targets([sampled])
    assert targets.bbox_targets.shape == targets.bbox_weights.shape == (2, 16)
    rois = torch.cat([torch.zeros(2, 1), sampled.bboxes], dim=1)
    losses = model.loss(torch.zeros(2, 4), torch.zeros(2, 16), rois, targets)
    assert losses['loss_cls'].item() == pytest.approx(math.log(4))
    # Six of eight buckets count, over four sides of two regions.
    assert losses['loss_bbox_cls'].item() == pytest.approx(6 * math.log(2) / 8)
    # Offsets -0.1, 0.9; 0.7, -0.3; 0; 0.5 count: above 0.1 smooth L1 is |x| - 0.05, at 0.1 it is 0.05.
    assert losses['loss_bbox_reg'].item() == pytest.approx((0.05 + 0.85 + 0.65 + 0.25 + 0.45) / 2)


def test_confidence_ranks_but_removes_nothing():
    model = head()
    rois = torch.tensor([[0.0, 10, 20, 20, 40]])
    bbox_pred = torch.zeros(1, 16)
    bbox_pred[0, :8:2] = math.log(3)  # outer buckets 3/4, their neighbours 1/4: sure
    scores = torch.tensor([[0.1, 0.6, 0.1, 0.2]])
    cfg = RoITestSettings(score_thr=0.5, nms=dict(type='nms', iou_threshold=0.5), max_per_img=5)
    detections = model.predict(rois, scores, bbox_pred, meta(64, 64), cfg)
    assert detections.scores.tolist() == [pytest.approx(0.6)] and detections.labels.tolist() == [1]
    assert detections.bboxes.tolist() == [[7.5, 15, 22.5, 45]]
    assert model.regress_by_class(rois[:, 1:], torch.tensor([1]), bbox_pred, meta(64, 64)).tolist() == [
        [7.5, 15, 22.5, 45]
    ]
    quality = model.box_quality(torch.zeros(1, 16))
    assert quality is not None and quality.item() == pytest.approx(1)


@pytest.mark.parametrize('stages', [1, 2])
@pytest.mark.parametrize('empty', [False, True])
def test_every_parameter_learns_and_boxes_come_out(stages, empty):
    torch.manual_seed(0)
    cfg = dict(type='SABLHead', **ARGUMENTS)
    kind = dict(type='StandardRoIHead', bbox_head=cfg)
    if stages == 2:
        kind = dict(type='CascadeRoIHead', num_stages=2, stage_loss_weights=[1, 0.5], bbox_head=[cfg, cfg])
    train_cfg = TRAIN if stages == 1 else [TRAIN, TRAIN]
    roi_head = build_head(dict(kind, bbox_roi_extractor=EXTRACTOR, train_cfg=train_cfg, test_cfg=TEST))
    roi_head.init_weights()
    batch = batch_of(truth(), truth(), height=32, width=32) if empty else scene()
    losses = roi_head.loss(feats(), proposals(), batch)
    sum(loss for name, loss in losses.items() if 'loss' in name).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in roi_head.parameters())
    detections = roi_head.predict(feats(), proposals(), batch.metas)
    assert [len(each) for each in detections] == [6, 6]
    none: list[Instances] = [regions(), regions()]
    assert [len(each) for each in roi_head.predict(feats(), none, batch.metas)] == [0, 0]
    boxes, scores = roi_head.decode(
        feats(), torch.stack([proposals()[0].bboxes[:4], proposals()[1].bboxes[:4]]), batch.metas
    )
    assert boxes.shape == (2, 4, 4) and scores.shape == (2, 4, 3)


@pytest.mark.parametrize(
    'change, word',
    [
        (dict(roi_feat_size=7), 'buckets'),
        (dict(reg_in_channels=8), 'reg_in_channels'),
        (dict(reg_class_agnostic=False), 'one box'),
        (dict(bbox_coder=dict(type='DeltaXYWHBBoxCoder')), 'BucketingBBoxCoder'),
    ],
)
def test_what_is_refused(change, word):
    with pytest.raises((ValueError, TypeError), match=word):
        head(**change)
