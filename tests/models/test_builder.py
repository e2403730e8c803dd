from __future__ import annotations

import copy

import pytest

from mmkit.models import build_backbone, build_detector, build_head, build_loss, build_neck

MODEL = dict(
    type='RetinaNet',
    backbone=dict(type='ResNet', depth=18, base_channels=4, stem_channels=4, out_indices=(3,)),
    neck=dict(type='FPN', in_channels=[32], out_channels=4, num_outs=1),
    bbox_head=dict(
        type='RetinaHead',
        num_classes=2,
        in_channels=4,
        feat_channels=4,
        stacked_convs=1,
        anchor_generator=dict(type='AnchorGenerator', scales=[4], ratios=[1.0], strides=[32]),
    ),
)
TRAIN = dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4), pos_weight=3.0)
TEST = dict(score_thr=0.25, nms=dict(type='nms', iou_threshold=0.5), max_per_img=7)


def test_outer_settings_are_those_of_the_model():
    """Beside the model before mmdetection 2.9, inside it since."""
    cfg = copy.deepcopy(MODEL)
    outer = build_detector(cfg, train_cfg=TRAIN, test_cfg=TEST)
    inner = build_detector(dict(MODEL, train_cfg=TRAIN, test_cfg=TEST))
    for model in (outer, inner):
        assert model.bbox_head.train_cfg.pos_weight == 3 and model.bbox_head.test_cfg.score_thr == 0.25
    assert cfg == MODEL


@pytest.mark.parametrize('key', ['train_cfg', 'test_cfg'])
def test_settings_twice_are_an_error(key):
    given = {key: dict(train_cfg=TRAIN, test_cfg=TEST)[key]}
    with pytest.raises(ValueError, match=f'{key} given both inside and outside of model'):
        build_detector({**MODEL, **given}, **given)
    build_detector({**MODEL, key: None}, **given)


def test_parts():
    assert type(build_backbone(MODEL['backbone'])).__name__ == 'ResNet'
    assert type(build_neck(MODEL['neck'])).__name__ == 'FPN'
    assert type(build_head(MODEL['bbox_head'])).__name__ == 'RetinaHead'
    assert type(build_loss(dict(type='L1Loss'))).__name__ == 'L1Loss'


def test_unknown_types_name_their_neighbours():
    with pytest.raises(KeyError, match='RetinaNet'):
        build_detector(dict(MODEL, type='RetinaNett'))
    with pytest.raises(TypeError, match='num_clases'):
        build_detector(dict(MODEL, bbox_head=dict(MODEL['bbox_head'], num_clases=3)))
