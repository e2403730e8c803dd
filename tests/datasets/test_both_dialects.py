"""Data written in each dialect: the same images in the same order, the same to the last bit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import mmkit.models  # noqa: F401 - registers preprocessors
from mmkit.config import Config
from mmkit.datasets import CocoDataset, build_dataset
from mmkit.dialects import read_recipe
from mmkit.engine.loading import set_epoch
from mmkit.engine.parts import build_loader
from mmkit.registry import DATA_PREPROCESSORS, DATASETS
from mmkit.transforms.deferred import defer_normalize

NORM = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
PREPROCESSOR = dict(type='DetDataPreprocessor', **NORM, bgr_to_rgb=True, pad_size_divisor=32)
SIZES = [(40, 60)] * 6 + [(60, 40)] * 4  # groups that divide evenly into batches of two


def config_of_2x(ann_file, folder):
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='Resize', img_scale=[(90, 40), (90, 60)], keep_ratio=True),
        dict(type='RandomFlip', flip_ratio=0.5),
        dict(type='RandomCrop', crop_size=(30, 50), allow_negative_crop=True),
        dict(type='Normalize', **NORM, to_rgb=True),
        dict(type='Pad', size_divisor=32),
        dict(type='DefaultFormatBundle'),
        dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels']),
    ]
    train = dict(type='CocoDataset', ann_file=ann_file, img_prefix=folder, classes=('cat', 'dog'), pipeline=pipeline)
    return dict(
        data=dict(samples_per_gpu=2, workers_per_gpu=0, train=train),
        optimizer=dict(type='SGD', lr=0.1),
        runner=dict(type='EpochBasedRunner', max_epochs=1),
    )


def config_of_3x(ann_file, folder, **loader):
    pipeline = [
        dict(type='LoadImageFromFile', backend_args=None),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='RandomResize', scale=[(90, 40), (90, 60)], keep_ratio=True),
        dict(type='RandomFlip', prob=0.5),
        dict(type='RandomCrop', crop_size=(50, 30), allow_negative_crop=True),
        dict(type='PackDetInputs'),
    ]
    dataset = dict(
        type='CocoDataset',
        ann_file=ann_file,
        data_prefix=dict(img=folder),
        metainfo=dict(classes=('cat', 'dog')),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=pipeline,
    )
    return dict(
        train_dataloader=dict(batch_size=2, num_workers=0, dataset=dataset, **loader),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1)),
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=1),
    )


@pytest.mark.parametrize('by_name', [False, True])
def test_batches_are_the_same(make_images, coco, by_name):
    folder = str(make_images(*SIZES)) + '/'
    ann_file = coco(SIZES, [(image, 3 + 4 * (image % 2), (5, 6, 20, 25)) for image in range(10)])
    samplers = dict(
        sampler=dict(type='DefaultSampler', shuffle=True), batch_sampler=dict(type='AspectRatioBatchSampler')
    )
    batches = []
    for config in (config_of_2x(ann_file, folder), config_of_3x(ann_file, folder, **samplers)):
        recipe = read_recipe(Config(config))
        order = samplers if by_name and 'data' not in config else {}
        dataset, preprocessor = recipe.train.dataset, PREPROCESSOR
        if 'data' in config:  # a run normalises on the device by itself
            (dataset,), preprocessor = defer_normalize([dataset])
        loader = build_loader(build_dataset(dataset), replace(recipe.train, **order), seed=3, shuffle=True)
        set_epoch(loader, 2)
        batches.append([DATA_PREPROCESSORS.build(preprocessor)(batch) for batch in loader])
    assert len(batches[0]) == len(batches[1]) == 5
    for first, second in zip(*batches, strict=True):
        assert torch.equal(first.imgs, second.imgs)
        for mine, other in zip(first.metas, second.metas, strict=True):
            assert (mine.filename, mine.pad_shape, mine.flip) == (other.filename, other.pad_shape, other.flip)
            assert (mine.scale_factor == other.scale_factor).all()
        for mine, other in zip(first.gts, second.gts, strict=True):
            assert torch.equal(mine.bboxes, other.bboxes) and torch.equal(mine.labels, other.labels)


def test_a_class_of_ones_own_is_written_as_the_one_it_derives_from(make_images, coco, monkeypatch):
    class Pets(CocoDataset):
        METAINFO = dict(classes=('cat', 'dog'), palette=[(1, 2, 3), (4, 5, 6)])

    monkeypatch.setitem(DATASETS._entries, 'Pets', Pets)
    ann_file = coco(SIZES, [(image, 3 + 4 * (image % 2), (5, 6, 20, 25)) for image in range(10)])
    cfg = config_of_3x(ann_file, str(make_images(*SIZES)))
    cfg['train_dataloader']['dataset'].update(type='mmdet.Pets', metainfo=dict())
    dataset = build_dataset(read_recipe(Config(cfg)).train.dataset)
    assert type(dataset) is Pets and len(dataset) == len(SIZES)
    assert dataset.CLASSES == ('cat', 'dog') and dataset.PALETTE == Pets.METAINFO['palette']
