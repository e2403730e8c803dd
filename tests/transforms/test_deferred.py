"""Normalisation on the device gives the images that the pipelines would have given."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from mmkit.config import ConfigDict
from mmkit.datasets import collate
from mmkit.errors import UserError
from mmkit.models.preprocessor import DataPreprocessor
from mmkit.registry import DATA_PREPROCESSORS, TRANSFORMS
from mmkit.transforms import Compose
from mmkit.transforms.deferred import NormalizeLater, NotDeferrableError, defer_normalize

NORM = dict(type='Normalize', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
ONE_NUMBER = dict(type='Normalize', mean=[127.0], std=[50.0], to_rgb=False)
CAFFE = dict(type='Normalize', mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], to_rgb=False)
BUNDLE, COLLECT = dict(type='DefaultFormatBundle'), dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels'])
START = [dict(type='LoadImageFromWebcam'), dict(type='LoadAnnotations')]
RESIZE = [dict(type='Resize', img_scale=[(90, 60), (60, 40)]), dict(type='RandomFlip', flip_ratio=0.5)]
PAD = dict(type='Pad', size_divisor=32)
SEG = dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels', 'gt_semantic_seg'])
TRAIN = [*START, *RESIZE, NORM, PAD, BUNDLE, COLLECT]


def tta(*steps):
    views = dict(type='MultiScaleFlipAug', img_scale=[(90, 60), (60, 40)], flip=True, transforms=list(steps))
    return [START[0], views]


TEST = tta(dict(type='Resize', keep_ratio=True), dict(type='RandomFlip'), NORM, PAD)
TEST[1]['transforms'] += [dict(type='ImageToTensor', keys=['img']), dict(type='Collect', keys=['img'])]
CLASSIFY = [
    START[0],
    dict(type='RandomResizedCrop', size=24),
    NORM,
    dict(type='ImageToTensor', keys=['img']),
    dict(type='ToTensor', keys=['gt_label']),
    dict(type='Collect', keys=['img', 'gt_label']),
]
PIPELINES = {
    'with Pad': TRAIN,
    'without Pad': [step for step in TRAIN if step is not PAD],
    'BGR': [CAFFE if step is NORM else step for step in TRAIN],
    'one number': [
        {**NORM, 'mean': [127.0], 'std': [50.0], 'to_rgb': False} if step is NORM else step for step in TRAIN
    ],
    'padded before': [*START, *RESIZE, PAD, NORM, BUNDLE, COLLECT],
    'padded with a fraction': [
        *START,
        *RESIZE,
        NORM,
        {**PAD, 'pad_val': dict(img=-1.5)},
        {**BUNDLE, 'pad_val': dict(img=-1.5)},
        COLLECT,
    ],
    'float images': [*START, dict(type='PhotoMetricDistortion'), *RESIZE, NORM, PAD, BUNDLE, COLLECT],
    'semantic map': [
        *START,
        *RESIZE,
        NORM,
        PAD,
        dict(type='SegRescale', scale_factor=0.125),
        BUNDLE,
        SEG,
    ],
    'views': TEST,
    'classification': CLASSIFY,
    'no Normalize': [*START, *RESIZE, {**PAD, 'pad_val': 114}, BUNDLE, COLLECT],
}


def raw_sample(number):
    rng = np.random.default_rng(number)
    height, width = (40, 60) if number % 2 else (55, 45)
    sample = dict(
        img=rng.integers(0, 256, (height, width, 3), dtype=np.uint8),
        img_info=dict(id=number),
        ann_info=dict(bboxes=[[5, 5, 20, 25]], labels=[1]),
        gt_label=np.array(3),
        rng=np.random.default_rng(number),
    )
    return {**sample, 'gt_semantic_seg': np.ones((height, width), np.uint8), 'seg_fields': ['gt_semantic_seg']}


def batches(pipeline):
    """The batch of three images, or one for each view."""
    compose = Compose(pipeline)
    samples = []
    for number in range(3):
        sample = raw_sample(number)
        if 'RandomResizedCrop' in str(pipeline):
            sample = {key: sample[key] for key in ('img', 'gt_label', 'rng')}
        elif 'gt_semantic_seg' not in str(pipeline):
            sample = {key: value for key, value in sample.items() if not key.endswith(('seg', 'seg_fields'))}
        samples.append(compose(sample))
    made = collate(samples)
    return made if isinstance(made, list) else [made]


def deferred(pipeline):
    (dataset,), preprocessor = defer_normalize([dict(type='CocoDataset', pipeline=pipeline)])
    return dataset['pipeline'], DATA_PREPROCESSORS.build(preprocessor or dict(type='DataPreprocessor'))


@pytest.mark.parametrize('name', PIPELINES)
def test_the_model_gets_the_same_images(name):
    pipeline = PIPELINES[name]
    before = copy.deepcopy(pipeline)
    edited, preprocess = deferred(pipeline)
    assert pipeline == before
    for usual, raw in zip(batches(pipeline), batches(edited), strict=True):
        assert raw.imgs.dtype == (torch.float32 if name == 'float images' else torch.uint8)
        assert usual.imgs.dtype == torch.float32
        made = preprocess(raw)
        assert made.imgs.shape == usual.imgs.shape and made.imgs.dtype == torch.float32
        assert (made.imgs - usual.imgs).abs().max() <= 1e-5
        for ours, theirs in zip(made.metas, usual.metas):
            assert (ours.img_shape, ours.pad_shape, ours.flip) == (theirs.img_shape, theirs.pad_shape, theirs.flip)
            assert (ours.img_norm_cfg is None) == (theirs.img_norm_cfg is None) == (name == 'no Normalize')
        again = preprocess(made)
        assert (again.imgs == made.imgs).all()
        if usual.gt_semantic_seg is not None:
            assert (made.gt_semantic_seg == usual.gt_semantic_seg).all()


def test_a_batch_of_normalised_and_other_images():
    pipeline = PIPELINES['with Pad']
    edited, preprocess = deferred(pipeline)
    compose = [Compose(pipeline), Compose(edited)]
    expected = collate([compose[0](raw_sample(number)) for number in range(3)])
    mixed = collate([compose[number % 2](raw_sample(number)) for number in range(3)])
    assert (preprocess(mixed).imgs - expected.imgs).abs().max() <= 1e-5
    assert (preprocess(expected).imgs == expected.imgs).all()


@pytest.mark.parametrize(
    ('others', 'reason'),
    [
        ([CAFFE if step is NORM else step for step in TRAIN], 'same values'),
        (PIPELINES['no Normalize'], 'same values'),
        (PIPELINES['padded with a fraction'], 'same values'),
        ([*TRAIN[:-1], {**COLLECT, 'type': 'MyCollect'}], 'end in Collect'),
        ([*START, NORM, *RESIZE, PAD, BUNDLE, COLLECT], 'Resize comes behind'),
        ([*START, NORM, print, BUNDLE, COLLECT], 'comes behind'),
        ([*START, NORM, NORM, PAD, BUNDLE, COLLECT], 'twice'),
        ([*START, dict(type='AutoAugment', policies=[[NORM]]), NORM, BUNDLE, COLLECT], 'twice'),
        ([*START, NORM, {**PAD, 'pad_val': dict(img=7)}, BUNDLE, COLLECT], 'several values'),
        ([*START, NORM, {**PAD, 'pad_val': dict(img=[1, 2, 3])}, BUNDLE, COLLECT], 'several values'),
        ([*START, {**BUNDLE, 'pad_val': dict(img=-1)}, COLLECT], 'cannot be padded'),
        ([START[0], NORM, TEST[1]], 'before its views'),
    ],
)
def test_runs_that_keep_normalising_in_their_pipelines(others, reason):
    datasets = [dict(type='CocoDataset', pipeline=pipeline) for pipeline in (TRAIN, others)]
    with pytest.raises(NotDeferrableError, match=reason):
        defer_normalize(datasets)


def test_wrapped_datasets():
    coco = dict(type='CocoDataset', pipeline=TRAIN)
    mix = dict(type='MultiImageMixDataset', dataset=dict(type='CocoDataset', pipeline=START), pipeline=TRAIN[2:])
    wrapped = [dict(type='RepeatDataset', times=2, dataset=[coco, coco]), dict(datasets=[coco, dict(dataset=mix)])]
    edited, preprocessor = defer_normalize([*wrapped, [coco]])
    inner = edited[1]['datasets'][1]['dataset']
    assert inner['pipeline'][2]['type'] is NormalizeLater and inner['dataset']['pipeline'] == START
    assert preprocessor == dict(
        type='DataPreprocessor',
        mean=pytest.approx(NORM['mean']),
        std=pytest.approx(NORM['std']),
        bgr_to_rgb=True,
        pad_value=0.0,
    )
    for wrong, reason in (
        (dict(type='CocoDataset'), 'no pipeline'),
        (object(), 'no config'),
        ({**mix, 'dataset': dict(type='CocoDataset', pipeline=[*START, NORM])}, 'before they are mixed'),
    ):
        with pytest.raises(NotDeferrableError, match=reason):
            defer_normalize([coco, wrong])


def test_places_in_the_config_survive():
    config = ConfigDict(type='CocoDataset', pipeline=[ConfigDict(step) for step in TRAIN])
    wrong = config.pipeline[4]
    wrong.std = [0, 0, 0]
    with pytest.raises(UserError, match='std above 0'):
        defer_normalize([config])
    assert isinstance(defer_normalize([ConfigDict(coco=1, type='A', pipeline=TRAIN)])[0][0], ConfigDict)


def test_an_image_that_is_normalised_already_is_not_left_to_the_model():
    step = TRANSFORMS.build({**NORM, 'type': NormalizeLater})
    sample = step({**raw_sample(0), 'img_norm_cfg': dict(mean=0)})
    assert sample['img'].dtype == np.float32 and 'norm_shape' not in sample
    with pytest.raises(UserError, match='2 channels'):
        step(dict(img=np.zeros((4, 4, 2), np.uint8)))


def test_what_the_preprocessor_refuses():
    for arguments in (dict(mean=[1.0]), dict(mean=[1.0], std=[0.0]), dict(mean=[1.0, 2.0], std=[1.0])):
        with pytest.raises(UserError, match='one number a channel'):
            DataPreprocessor(**arguments)
