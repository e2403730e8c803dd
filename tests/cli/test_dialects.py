"""One training written in both dialects, as their users would write it."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import cv2
import pytest
import torch

from mmkit.apis import inference_detector, init_detector
from mmkit.cli import test as test_command
from mmkit.cli import train as train_command
from mmkit.engine.hooks.logger import LoggerHook
from mmkit.registry import HOOKS
from mmkit.utils.logging import get_logger
from tests.tiny import CLASSES, make_dataset

MODEL = """
    backbone=dict(type='ResNet', depth=18, base_channels=8, stem_channels=8, out_indices=(1, 2, 3)),
    neck=dict(type='FPN', in_channels=[16, 32, 64], out_channels=8, add_extra_convs='on_input', num_outs=3),
    bbox_head=dict(
        type='RetinaHead',
        num_classes=2,
        in_channels=8,
        stacked_convs=1,
        feat_channels=8,
        anchor_generator=dict(
            type='AnchorGenerator', octave_base_scale=2, scales_per_octave=1, ratios=[1.0], strides=[8, 16, 32]
        ),
    ),
    train_cfg=dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0)),
    test_cfg=dict(nms_pre=50, min_bbox_size=0, score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5), max_per_img=5),
"""
V2 = f"""
model = dict(type='RetinaNet', {MODEL})
norm = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', img_scale=[(80, 80), (80, 56)], multiscale_mode='value', keep_ratio=True),
    dict(type='RandomFlip', flip_ratio=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='Normalize', **norm),
    dict(type='Pad', size_divisor=32),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels']),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='MultiScaleFlipAug',
        img_scale=(72, 72),
        flip=False,
        transforms=[
            dict(type='Resize', keep_ratio=True),
            dict(type='RandomFlip'),
            dict(type='Normalize', **norm),
            dict(type='Pad', size_divisor=32),
            dict(type='ImageToTensor', keys=['img']),
            dict(type='Collect', keys=['img']),
        ],
    ),
]
files = dict(type='CocoDataset', classes=CLASSES, ann_file='ROOT/annotations.json', img_prefix='ROOT/images/')
data = dict(
    samples_per_gpu=2,
    workers_per_gpu=0,
    train=dict(pipeline=train_pipeline, **files),
    val=dict(pipeline=test_pipeline, **files),
    test=dict(pipeline=test_pipeline, **files),
)
optimizer = dict(
    type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001, paramwise_cfg=dict(norm_decay_mult=0.0, bias_lr_mult=2.0)
)
optimizer_config = dict(grad_clip=dict(max_norm=35, norm_type=2))
lr_config = dict(policy='step', step=[1], gamma=0.5)
runner = dict(type='EpochBasedRunner', max_epochs=2)
checkpoint_config = dict(interval=1)
evaluation = dict(interval=2, metric='bbox')
log_config = dict(interval=1, hooks=[dict(type='TextLoggerHook')])
seed = 3
custom_hooks = [dict(type='KeepLosses', interval=1)]
"""
V3 = f"""
default_scope = 'mmdet'
model = dict(
    type='RetinaNet',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
    ),
    {MODEL}
)
train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomChoiceResize', scales=[(80, 80), (80, 56)], keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='Resize', scale=(72, 72), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
files = dict(
    type='CocoDataset',
    data_root='ROOT/',
    ann_file='annotations.json',
    data_prefix=dict(img='images/'),
    metainfo=dict(classes=CLASSES),
)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(filter_cfg=dict(filter_empty_gt=True, min_size=32), pipeline=train_pipeline, **files),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(test_mode=True, pipeline=test_pipeline, **files),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='CocoMetric', ann_file='ROOT/annotations.json', metric='bbox')
test_evaluator = val_evaluator
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2, val_interval=2)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [dict(type='MultiStepLR', begin=0, end=2, by_epoch=True, milestones=[1], gamma=0.5)]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_lr_mult=2.0),
    clip_grad=dict(max_norm=35, norm_type=2),
)
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=1),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', interval=1),
    sampler_seed=dict(type='DistSamplerSeedHook'),
)
log_processor = dict(type='LogProcessor', window_size=1, by_epoch=True)
randomness = dict(seed=3)
custom_hooks = [dict(type='KeepLosses', interval=1)]
tta_model = dict(type='DetTTAModel', tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=5))
tta_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale=scale, keep_ratio=True) for scale in [(72, 72), (96, 96)]],
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [dict(type='LoadAnnotations', with_bbox=True)],
            [
                dict(
                    type='PackDetInputs',
                    meta_keys=('img_id', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction'),
                )
            ],
        ],
    ),
]
"""


@HOOKS.register_module(force=True)
class KeepLosses(LoggerHook):
    """Keeps the losses of each iteration, and the norm of their gradient, in a list for each training."""

    runs = []

    def before_run(self, runner):
        super().before_run(runner)
        self.runs.append([])

    def write(self, runner, record):
        if record.mode == 'train':
            self.runs[-1].append({key: value for key, value in record.values.items() if 'loss' in key or 'norm' in key})


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """Folders with the config and the work directory of each dialect, after the training."""
    root = tmp_path_factory.mktemp('dialects')
    data = make_dataset(root / 'data', num_images=4)
    folders = {}
    for name, text in (('v2', V2), ('v3', V3)):
        folder = folders[name] = root / name
        folder.mkdir()
        (folder / 'cfg.py').write_text(text.replace('ROOT', str(data)).replace('CLASSES', repr(CLASSES)))
        assert train_command.main([str(folder / 'cfg.py'), '--work-dir', str(folder / 'work'), '--device', 'cpu']) == 0
    close_logs()
    return folders


def close_logs():
    for handler in list(get_logger().handlers):
        if hasattr(handler, 'baseFilename'):
            get_logger().removeHandler(handler)
            handler.close()


def test_losses_and_weights_are_the_same_to_the_last_bit(runs):
    first, second = KeepLosses.runs[:2]
    assert len(first) == 4 and len({each['loss'] for each in first}) == 4
    assert first == second
    checkpoints = [torch.load(runs[name] / 'work' / 'epoch_2.pth', weights_only=True) for name in ('v2', 'v3')]
    weights = [each['state_dict'] for each in checkpoints]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


@pytest.mark.parametrize('name', ['v2', 'v3'])
def test_resuming_changes_nothing(runs, name, tmp_path, monkeypatch):
    monkeypatch.setattr('signal.signal', lambda *args: None)
    first, whole = (runs[name] / 'work' / f'epoch_{epoch}.pth' for epoch in (1, 2))
    newest = tmp_path / 'newest'
    newest.mkdir()
    shutil.copy(first, newest)
    for folder, flags in ((newest, []), (tmp_path / 'given', [str(first)])):
        command = [str(runs[name] / 'cfg.py'), '--work-dir', str(folder), '--device', 'cpu', '--resume', *flags]
        assert train_command.main(command) == 0
        states = [torch.load(path, weights_only=True)['state_dict'] for path in (whole, folder / 'epoch_2.pth')]
        assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    close_logs()


def test_figures_of_a_test_are_the_same(runs, capsys):
    figures = []
    for name, flags in (('v2', ['--eval', 'bbox']), ('v3', [])):
        command = [str(runs[name] / 'cfg.py'), str(runs[name] / 'work' / 'epoch_2.pth'), '--device', 'cpu', *flags]
        assert test_command.main(command) == 0
        figures.append(json.loads(capsys.readouterr().out.strip().splitlines()[-1]))
    assert figures[0]['bbox_mAP'] >= 0
    assert {f'coco/{name}': value for name, value in figures[0].items()} == figures[1]


def test_detections_have_the_layout_of_the_dialect(runs, tmp_path):
    contents = []
    for name in ('v2', 'v3'):
        file = tmp_path / f'{name}.pkl'
        command = [str(runs[name] / 'cfg.py'), str(runs[name] / 'work' / 'epoch_2.pth'), '--device', 'cpu']
        assert test_command.main([*command, '--out', str(file)]) == 0
        contents.append(pickle.loads(file.read_bytes()))
    for of_classes, sample in zip(*contents, strict=True):
        assert sample['ori_shape'] == (64, 64) and sample['scale_factor'] == (1.125, 1.125)
        instances = sample['pred_instances']
        for label, rows in enumerate(of_classes):
            chosen = instances['labels'] == label
            assert torch.equal(torch.from_numpy(rows[:, :4]), instances['bboxes'][chosen])
            assert torch.equal(torch.from_numpy(rows[:, 4]), instances['scores'][chosen])
    assert [Path(sample['img_path']).name for sample in contents[1]] == ['0.png', '1.png', '2.png', '3.png']
    assert [sample['img_id'] for sample in contents[1]] == [10, 11, 12, 13]


def test_augmented_tests_are_the_same(runs, tmp_path):
    """Two scales, each mirrored too: `--tta`, and MultiScaleFlipAug of 2.x."""
    views = ['data.test.pipeline.1.img_scale=[(72, 72), (96, 96)]', 'data.test.pipeline.1.flip=True']
    contents = []
    for name, flags in (('v2', ['--cfg-options', *views]), ('v3', ['--tta']), ('v3', [])):
        file = tmp_path / f'{name}.pkl'
        command = [str(runs[name] / 'cfg.py'), str(runs[name] / 'work' / 'epoch_2.pth'), '--device', 'cpu']
        assert test_command.main([*command, '--out', str(file), *flags]) == 0
        contents.append(pickle.loads(file.read_bytes()))
    for of_classes, sample, plain in zip(*contents, strict=True):
        scores = torch.cat([torch.from_numpy(rows[:, 4]) for rows in of_classes])
        assert torch.equal(scores.sort(descending=True)[0], sample['pred_instances']['scores'])
        assert len(scores) == 5 and not torch.equal(
            sample['pred_instances']['scores'], plain['pred_instances']['scores']
        )


def test_detections_in_single_images_are_the_same(runs):
    image = str(runs['v2'].parent / 'data' / 'images' / '1.png')
    found = []
    for name in ('v2', 'v3'):
        model = init_detector(runs[name] / 'cfg.py', runs[name] / 'work' / 'epoch_2.pth', device='cpu')
        assert model.CLASSES == CLASSES
        found += [inference_detector(model, image), inference_detector(model, [image, image], batch_size=2)[1]]
        data = model.cfg.data.test if name == 'v2' else model.cfg.test_dataloader.dataset
        found.append(inference_detector(model, image, test_pipeline=data.pipeline))
        data.pipeline[0].type = 'LoadImageFromWebcam' if name == 'v2' else 'mmdet.LoadImageFromNDArray'
        found.append(inference_detector(model, cv2.imread(image), test_pipeline=data.pipeline))
    assert len(found[0]) == 5
    for each in found[1:]:
        torch.testing.assert_close((each.bboxes, each.scores), (found[0].bboxes, found[0].scores))


def test_the_hook_of_a_config_draws_a_test(runs, tmp_path):
    command = [str(runs['v3'] / 'cfg.py'), str(runs['v3'] / 'work' / 'epoch_2.pth'), '--device', 'cpu']
    hook = {'type': 'DetVisualizationHook', 'draw': True, 'test_out_dir': 'drawn'}
    options = [f'default_hooks.visualization.{key}={value}' for key, value in hook.items()]
    assert test_command.main([*command, '--cfg-options', f'work_dir={tmp_path}', *options]) == 0
    assert sorted(path.name for path in tmp_path.glob('*/drawn/*')) == ['0.png', '1.png', '2.png', '3.png']


def test_options_of_the_other_dialect(runs, capsys):
    commands = {name: [str(runs[name] / 'cfg.py'), str(runs[name] / 'work' / 'epoch_2.pth')] for name in runs}
    for name, flags, message in (
        ('v3', ['--eval', 'bbox'], '--eval is for configs of 2.x; cfg.py is one of 3.x: use its test_evaluator'),
        ('v3', ['--format-only'], '--cfg-options test_evaluator.format_only=True'),
        ('v2', ['--tta', '--out', 'a.pkl'], '--tta: a config of 2.x says its views in MultiScaleFlipAug'),
        ('v2', [], 'nothing to do with the predictions: add --eval METRIC'),
    ):
        with pytest.raises(SystemExit) as stop:
            test_command.main([*commands[name], *flags])
        assert stop.value.code == 2
        assert message in capsys.readouterr().err
