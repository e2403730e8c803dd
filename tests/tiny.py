"""A data set of a few drawn squares in COCO's format, and a Faster R-CNN small enough to train on it in seconds."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import torch

from mmkit.config import Config
from mmkit.engine.checkpoint import save_checkpoint
from mmkit.models import build_detector

CLASSES = ('dark', 'bright')
ROOT = Path(__file__).parents[1]


def make_dataset(directory: Path, num_images: int = 3, size: int = 64) -> Path:
    """`directory`/{images/*.png,annotations.json}: one square on each image, dark and bright in turns."""
    (directory / 'images').mkdir(parents=True)
    images, annotations = [], []
    for number in range(num_images):
        label = number % 2
        image = np.full((size, size, 3), 128, dtype=np.uint8)
        left, top = 8 + 6 * (number % 4), 20
        image[top : top + 24, left : left + 24] = 255 * label
        cv2.imwrite(str(directory / 'images' / f'{number}.png'), image)
        images.append({'id': 10 + number, 'file_name': f'{number}.png', 'width': size, 'height': size})
        box = {'bbox': [left, top, 24, 24], 'area': 576, 'iscrowd': 0}
        annotations.append({'id': 1 + number, 'image_id': 10 + number, 'category_id': 5 + label, **box})
    categories = [{'id': 5 + label, 'name': name} for label, name in enumerate(CLASSES)]
    content = {'images': images, 'annotations': annotations, 'categories': categories}
    (directory / 'annotations.json').write_text(json.dumps(content))
    return directory


def tiny_config(directory: Path) -> Config:
    """The shapes config on that data set with a much narrower network."""
    cfg = Config.fromfile(ROOT / 'configs' / 'faster_rcnn' / 'faster_rcnn_r18_fpn_shapes.py')
    files = {'ann_file': str(directory / 'annotations.json'), 'img_prefix': str(directory / 'images')}
    options = {f'data.{split}.{key}': value for split in ('train', 'val', 'test') for key, value in files.items()}
    options |= {f'data.{split}.classes': CLASSES for split in ('train', 'val', 'test')}
    options |= {
        'data.test.pipeline.1.img_scale': (64, 64),
        'model.backbone.base_channels': 8,
        'model.backbone.stem_channels': 8,
        'model.neck.in_channels': [8, 16, 32, 64],
        'model.neck.out_channels': 8,
        'model.rpn_head.in_channels': 8,
        'model.rpn_head.feat_channels': 8,
        'model.roi_head.bbox_roi_extractor.out_channels': 8,
        'model.roi_head.bbox_head.in_channels': 8,
        'model.roi_head.bbox_head.fc_out_channels': 16,
        'model.roi_head.bbox_head.num_classes': 2,
        'model.test_cfg.rpn.max_per_img': 20,
        'model.test_cfg.rcnn.score_thr': 0.0,
        'model.test_cfg.rcnn.max_per_img': 5,
    }
    cfg.merge_from_dict(options)
    return cfg


def save_weights(path: Path, cfg: Config, **meta: object) -> Path:
    """A checkpoint of random weights."""
    torch.manual_seed(0)
    save_checkpoint(path, build_detector(cfg.model), meta={'CLASSES': CLASSES, **meta})
    return path


def tiny_config_v3(directory: Path) -> Config:
    """The same model and data in the dialect of mmdetection 3.x; one epoch takes the same steps."""
    cfg = tiny_config(directory)
    steps = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='Resize', scale=(64, 64), keep_ratio=True),
    ]
    dataset = dict(
        type='CocoDataset',
        data_root=str(directory),
        metainfo=dict(classes=CLASSES),
        ann_file='annotations.json',
        data_prefix=dict(img='images/'),
        pipeline=[*steps, dict(type='PackDetInputs')],
        backend_args=None,
    )
    preprocessor = dict(type='DetDataPreprocessor', mean=[127.5] * 3, std=[64.0] * 3, bgr_to_rgb=True)
    flipped = [*steps, dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs')]
    val = dict(
        batch_size=1,
        num_workers=0,
        drop_last=False,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset={**dataset, 'test_mode': True},
    )
    metric = dict(type='CocoMetric', ann_file=str(directory / 'annotations.json'), metric='bbox', backend_args=None)
    return Config(
        dict(
            default_scope='mmdet',
            model={**cfg.model, 'data_preprocessor': {**preprocessor, 'pad_size_divisor': 32}},
            train_dataloader=dict(
                batch_size=2,
                num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=True),
                batch_sampler=dict(type='AspectRatioBatchSampler'),
                dataset={**dataset, 'filter_cfg': dict(filter_empty_gt=True, min_size=32), 'pipeline': flipped},
            ),
            val_dataloader=val,
            test_dataloader=val,
            val_evaluator=metric,
            test_evaluator=metric,
            train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=2, val_interval=1),
            val_cfg=dict(type='ValLoop'),
            test_cfg=dict(type='TestLoop'),
            optim_wrapper=dict(
                type='OptimWrapper',
                optimizer=dict(type='AdamW', lr=0.001, weight_decay=0.05),
                clip_grad=dict(max_norm=5.0),
            ),
            param_scheduler=[dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50)],
            default_hooks=dict(
                timer=dict(type='IterTimerHook'),
                logger=dict(type='LoggerHook', interval=1),
                param_scheduler=dict(type='ParamSchedulerHook'),
                checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=1, save_best='auto'),
                sampler_seed=dict(type='DistSamplerSeedHook'),
                visualization=dict(type='DetVisualizationHook'),
            ),
            env_cfg=dict(cudnn_benchmark=False, dist_cfg=dict(backend='nccl')),
            visualizer=dict(type='DetLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')], name='visualizer'),
            log_processor=dict(type='LogProcessor', window_size=50, by_epoch=True),
            log_level='INFO',
            load_from=None,
            resume=False,
        )
    )
