from __future__ import annotations

import pytest
import torch

from mmkit.models import build_detector
from mmkit.registry import DETECTORS
from tests.models.scenes import batch_of, truth

ANCHORS = dict(type='AnchorGenerator', scales=[4], ratios=[1.0], strides=[8, 16])
ASSIGNER = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4)


def model(kind='RetinaNet', **arguments):
    cfg = dict(
        type=kind,
        backbone=dict(
            type='ResNet',
            depth=18,
            base_channels=4,
            stem_channels=4,
            num_stages=3,
            strides=(1, 2, 2),
            dilations=(1, 1, 1),
            out_indices=(1, 2),
        ),
        neck=dict(type='FPN', in_channels=[8, 16], out_channels=8, num_outs=2),
        bbox_head=dict(type='AnchorHead', num_classes=2, in_channels=8, anchor_generator=ANCHORS),
        train_cfg=dict(assigner=ASSIGNER),
        test_cfg=dict(nms_pre=10, score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5), max_per_img=5),
    )
    return build_detector(cfg | arguments)


def test_losses_in_training_and_detections_otherwise():
    torch.manual_seed(0)
    detector = model()
    batch = batch_of(truth(([8, 8, 40, 40], 1)), truth(), height=64, width=64)
    assert detector.train()(batch).keys() == {'loss_cls', 'loss_bbox'}
    detections = detector.eval()(batch)
    assert len(detections) == 2 and all(0 < len(each) <= 5 for each in detections)
    assert [tuple(feat.shape) for feat in detector.extract_feat(batch.imgs)] == [(2, 8, 8, 8), (2, 8, 4, 4)]


def test_neck_is_optional_and_head_is_not():
    head = dict(type='AnchorHead', num_classes=2, in_channels=16, anchor_generator=dict(ANCHORS, strides=[16]))
    backbone = dict(
        type='ResNet',
        depth=18,
        base_channels=4,
        stem_channels=4,
        num_stages=3,
        strides=(1, 2, 2),
        dilations=(1, 1, 1),
        out_indices=(2,),
    )
    assert model('SingleStageDetector', backbone=backbone, neck=None, bbox_head=head).neck is None
    with pytest.raises(TypeError, match='a dense head is built from a dict'):
        model('ATSS', bbox_head=None)
    with pytest.raises(TypeError, match="LinearClsHead has no argument 'train_cfg'"):
        model('ATSS', bbox_head=dict(type='LinearClsHead', num_classes=2, in_channels=8))


@pytest.mark.parametrize('kind', ['ATSS', 'FCOS', 'GFL', 'RetinaNet', 'YOLOV3', 'YOLOX'])
def test_kinds_are_single_stage_detectors(kind):
    assert issubclass(DETECTORS.get(kind), DETECTORS.get('SingleStageDetector'))


def test_settings_by_which_views_are_merged_are_those_of_the_head():
    detector = model()
    assert detector.nms_settings.max_per_img == 5 and detector.nms_settings.nms['iou_threshold'] == 0.5
    assert model(test_cfg=None).nms_settings is None


@torch.no_grad()
def test_decoded_boxes_are_all_of_the_heads():
    detector, batch = model().eval(), batch_of(truth(), truth(), height=64, width=64)
    boxes, scores = detector.decode(batch)
    assert boxes.shape == (2, 8 * 8 + 4 * 4, 4) and scores.shape == (2, 80, 2)
    best = detector(batch)[0]
    assert best.scores[0] == scores[0].max()


def test_pretrained_is_the_older_spelling():
    with pytest.warns(UserWarning, match='pretrained'):
        detector = model(pretrained='torchvision://resnet18')
    assert detector.backbone.init_cfg['checkpoint'] == 'torchvision://resnet18'
