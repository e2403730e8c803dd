"""A model that normalises its images itself computes what it does with images that a pipeline has normalised."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmkit.datasets import collate
from mmkit.engine.predict import predict_views
from mmkit.errors import UserError
from mmkit.models import build_detector
from mmkit.models.preprocessor import DetDataPreprocessor
from mmkit.structures import Batch, ImageMeta
from mmkit.transforms import Compose
from mmkit.transforms.deferred import defer_normalize

NORM = dict(type='Normalize', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
BUNDLE = dict(type='DefaultFormatBundle')
TRAIN = [
    dict(type='LoadImageFromWebcam'),
    dict(type='LoadAnnotations'),
    dict(type='Resize', img_scale=[(90, 60), (60, 40)]),
    NORM,
    dict(type='Pad', size_divisor=32),
    BUNDLE,
    dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels']),
]
VIEWS = [NORM, dict(type='Pad', size_divisor=32), dict(type='ImageToTensor', keys=['img'])]
TEST = [
    dict(type='LoadImageFromWebcam'),
    dict(
        type='MultiScaleFlipAug',
        img_scale=[(90, 60), (60, 40)],
        flip=True,
        transforms=[dict(type='Resize'), dict(type='RandomFlip'), *VIEWS, dict(type='Collect', keys=['img'])],
    ),
]
CLASSIFY = [
    dict(type='LoadImageFromWebcam'),
    dict(type='Resize', size=(32, 32)),
    NORM,
    dict(type='ImageToTensor', keys=['img']),
    dict(type='ToTensor', keys=['gt_label']),
    dict(type='Collect', keys=['img', 'gt_label']),
]
RETINANET = dict(
    type='RetinaNet',
    backbone=dict(type='ResNet', depth=18, num_stages=2, strides=(1, 2), dilations=(1, 1), out_indices=(1,)),
    neck=dict(type='FPN', in_channels=[128], out_channels=8, num_outs=1),
    bbox_head=dict(
        type='RetinaHead',
        num_classes=3,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        anchor_generator=dict(
            type='AnchorGenerator', octave_base_scale=4, scales_per_octave=1, ratios=[1.0], strides=[8]
        ),
    ),
    train_cfg=dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0)),
    test_cfg=dict(nms_pre=100, score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5), max_per_img=5),
)
CLASSIFIER = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet', depth=18, num_stages=2, strides=(1, 2), dilations=(1, 1), out_indices=(1,)),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=5, in_channels=128),
)


def raw_sample(number):
    rng = np.random.default_rng(number)
    height, width = (40, 60) if number % 2 else (55, 45)
    img = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    ann_info = dict(bboxes=[[5, 5, 20, 25]], labels=[1])
    return dict(img=img, img_info=dict(id=number), ann_info=ann_info, gt_label=np.array(3), rng=rng)


def load(pipeline):
    return collate([Compose(pipeline)(raw_sample(number)) for number in range(3)])


def both_ways(model, pipeline):
    """(model, batch) with normalisation in the pipeline and in the model, with the same weights."""
    (edited,), preprocessor = defer_normalize([dict(pipeline=pipeline)])
    torch.manual_seed(0)
    usual, deferring = build_detector(model), build_detector({**model, 'data_preprocessor': preprocessor})
    assert usual.state_dict().keys() == deferring.state_dict().keys()
    deferring.load_state_dict(usual.state_dict())
    return (usual, load(pipeline)), (deferring, load(edited['pipeline']))


def test_features_and_losses_of_a_detector():
    (usual, expected), (deferring, raw) = both_ways(RETINANET, TRAIN)
    assert raw.imgs.dtype == torch.uint8
    ours, theirs = (
        model.eval().extract_feat(model.preprocess(batch).imgs)
        for model, batch in ((deferring, raw), (usual, expected))
    )
    assert (ours[0] - theirs[0]).abs().max() <= 1e-5
    usual.train(), deferring.train()
    ours, theirs = deferring(raw), usual(expected)
    assert ours.keys() == theirs.keys()
    for name, loss in theirs.items():
        assert ours[name].item() == pytest.approx(loss.item(), abs=1e-5)


def test_predictions_from_several_views():
    (usual, expected), (deferring, raw) = both_ways(RETINANET, TEST)
    assert len(raw) == len(expected) == 4 and {view.imgs.dtype for view in raw} == {torch.uint8}
    for ours, theirs in zip(predict_views(deferring.eval(), raw), predict_views(usual.eval(), expected), strict=True):
        assert len(ours) and torch.allclose(ours.bboxes, theirs.bboxes, atol=1e-3)
        assert torch.allclose(ours.scores, theirs.scores, atol=1e-5)


def test_a_classifier():
    (usual, expected), (deferring, raw) = both_ways(CLASSIFIER, CLASSIFY)
    assert raw.imgs.dtype == torch.uint8
    assert deferring.train()(raw)['loss'].item() == pytest.approx(usual.train()(expected)['loss'].item(), abs=1e-5)
    for ours, theirs in zip(deferring.eval()(raw), usual.eval()(expected), strict=True):
        assert torch.allclose(ours.scores, theirs.scores, atol=1e-5)


def batch_of(*sizes, dtype=torch.uint8):
    height, width = max(size[0] for size in sizes), max(size[1] for size in sizes)
    imgs = torch.full((len(sizes), 3, height, width), 10, dtype=dtype)
    imgs[:, 0] = 30  # blue
    return Batch(imgs, [ImageMeta('', '', 0, size, size, size, np.ones(4, np.float32)) for size in sizes])


def test_the_preprocessor_of_mmdetection_3():
    preprocess = DetDataPreprocessor(mean=[10, 10, 20], std=[1, 2, 5], bgr_to_rgb=True, pad_size_divisor=8, pad_value=7)
    made = preprocess(batch_of((5, 6), (4, 9)))
    assert made.imgs.shape == (2, 3, 8, 16)
    assert made.imgs[0, :, 4, 5].tolist() == [0, 0, 2] and made.imgs[1, :, 3, 8].tolist() == [0, 0, 2]
    assert (
        made.imgs[0, :, 4, 6].tolist() == made.imgs[1, :, 4, 0].tolist() == made.imgs[1, :, 7, 15].tolist() == [7] * 3
    )
    assert [each.pad_shape for each in made.metas] == [(8, 8), (8, 16)]
    assert made.metas[0].img_shape == (5, 6)
    assert (preprocess(made).imgs == made.imgs).all()
    plain = DetDataPreprocessor(rgb_to_bgr=True)(batch_of((4, 4)))
    assert plain.imgs[0, :, 0, 0].tolist() == [10, 10, 30] and plain.imgs.dtype == torch.float32


def test_a_preprocessor_in_the_config_of_a_model():
    model = build_detector({**RETINANET, 'data_preprocessor': dict(type='DetDataPreprocessor', pad_size_divisor=32)})
    assert model.preprocess(batch_of((40, 60))).imgs.shape == (1, 3, 64, 64)
    assert not list(model.data_preprocessor.state_dict()) and not list(model.data_preprocessor.parameters())
    for wrong, reason in (
        (dict(batch_augments=[dict(type='BatchShrink')]), 'BatchShrink'),
        (dict(bgr_to_rgb=True, rgb_to_bgr=True), 'exclude each other'),
        (dict(pad_size_divisor=0), 'at least 1'),
        (dict(mean=[1, 2, 3]), 'one number a channel'),
    ):
        with pytest.raises(UserError, match=reason):
            build_detector({**RETINANET, 'data_preprocessor': dict(type='DetDataPreprocessor', **wrong)})
    grey = Batch(torch.zeros(1, 1, 4, 4, dtype=torch.uint8), batch_of((4, 4)).metas)
    with pytest.raises(UserError, match='images have 1 channels'):
        DetDataPreprocessor(mean=[1, 2, 3], std=[1, 1, 1])(grey)


def test_without_a_preprocessor_images_stay_and_become_float():
    model = build_detector(RETINANET)
    imgs = torch.rand(1, 3, 8, 8)
    batch = batch_of((8, 8))
    assert model.preprocess(Batch(imgs, batch.metas)).imgs is imgs
    made = model.preprocess(batch)
    assert made.imgs.dtype == torch.float32 and made.imgs[0, :, 0, 0].tolist() == [30, 10, 10]
