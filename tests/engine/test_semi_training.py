"""A semi-supervised training with a config of mmdetection 3.x."""

from __future__ import annotations

import json

import torch

from mmkit.config import Config
from mmkit.dialects import read_recipe
from mmkit.engine.assemble import assemble
from tests.models.detectors.test_two_stage import CFG
from tests.tiny import CLASSES, make_dataset

PREPROCESSOR = dict(
    type='DetDataPreprocessor', mean=[100.0, 110.0, 120.0], std=[1.0, 1.0, 1.0], bgr_to_rgb=False, pad_size_divisor=32
)
HEADS = dict(CFG['roi_head'], bbox_head=dict(CFG['roi_head']['bbox_head'], num_classes=2))
DETECTOR = dict(CFG, type='FasterRCNN', roi_head=HEADS, data_preprocessor=PREPROCESSOR)
BRANCHES = ['sup', 'unsup_teacher', 'unsup_student']
KEYS = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction', 'homography_matrix')
VIEW = [
    dict(type='RandomResize', scale=[(64, 48), (64, 96)], keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs', meta_keys=KEYS),
]
LABELLED = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='MultiBranch', branch_field=BRANCHES, sup=dict(type='PackDetInputs')),
]
UNLABELLED = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadEmptyAnnotations'),
    dict(type='MultiBranch', branch_field=BRANCHES, unsup_teacher=VIEW, unsup_student=VIEW),
]
TEST = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(64, 64), keep_ratio=True),
    dict(type='PackDetInputs', meta_keys=KEYS[:5]),
]


def make_config(root, work_dir):
    files = dict(
        type='CocoDataset',
        data_root=f'{root}/',
        ann_file='annotations.json',
        data_prefix=dict(img='images/'),
        metainfo=dict(classes=CLASSES),
    )
    parts = [
        dict(files, filter_cfg=dict(filter_empty_gt=True, min_size=32), pipeline=LABELLED),
        dict(files, filter_cfg=dict(filter_empty_gt=False), pipeline=UNLABELLED),
    ]
    evaluated = dict(files, test_mode=True, pipeline=TEST)
    loader = dict(num_workers=0, persistent_workers=False)
    content = dict(
        work_dir=str(work_dir),
        device='cpu',
        default_scope='mmdet',
        model=dict(
            type='SoftTeacher',
            detector=DETECTOR,
            data_preprocessor=dict(type='MultiBranchDataPreprocessor', data_preprocessor=PREPROCESSOR),
            semi_train_cfg=dict(pseudo_label_initial_score_thr=0.1, cls_pseudo_thr=0.1, rpn_pseudo_thr=0.1),
            semi_test_cfg=dict(predict_on='teacher'),
        ),
        train_dataloader=dict(
            batch_size=3,
            sampler=dict(type='GroupMultiSourceSampler', batch_size=3, source_ratio=[1, 2]),
            dataset=dict(type='ConcatDataset', datasets=parts),
            **loader,
        ),
        val_dataloader=dict(
            batch_size=1, sampler=dict(type='DefaultSampler', shuffle=False), dataset=evaluated, **loader
        ),
        val_evaluator=dict(type='CocoMetric', metric='bbox'),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=2, val_interval=2),
        val_cfg=dict(type='TeacherStudentValLoop'),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9)),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1),
            checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1, save_best='teacher/coco/bbox_mAP'),
        ),
        log_processor=dict(type='LogProcessor', by_epoch=False, window_size=1),
        visualizer=dict(type='DetLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')]),
        custom_hooks=[dict(type='MeanTeacherHook', momentum=0.25)],
        randomness=dict(seed=0),
    )
    return Config(content)


def test_both_branches_are_trained_and_evaluated(tmp_path):
    recipe = read_recipe(make_config(make_dataset(tmp_path / 'data', num_images=4), tmp_path))
    runner, loaders = assemble(recipe)
    runner.run(loaders, recipe.training.turns)
    (text,) = [path.read_text() for path in tmp_path.rglob('*.json') if 'unsup_loss_cls' in path.read_text()]
    lines = [json.loads(line) for line in text.splitlines()]
    (first, second) = [line for line in lines if 'loss' in line]
    parts = {f'{part}_{name}' for part in ('sup', 'unsup') for name in ('loss_rpn_cls', 'loss_cls', 'loss_bbox')}
    assert parts <= first.keys() and all(second[name] >= 0 for name in parts)
    figures = {name for line in lines for name in line if 'mAP_50' in name}
    assert figures == {'teacher/coco/bbox_mAP_50', 'student/coco/bbox_mAP_50'}
    assert [path.name for path in tmp_path.glob('best_*')] == ['best_teacher_coco_bbox_mAP_iter_2.pth']

    before, after = (torch.load(tmp_path / f'iter_{n}.pth', weights_only=True)['state_dict'] for n in (1, 2))
    name = 'roi_head.bbox_head.fc_cls.weight'
    average = 0.75 * before[f'teacher.{name}'] + 0.25 * after[f'student.{name}']
    torch.testing.assert_close(after[f'teacher.{name}'], average)
    assert not torch.equal(after[f'teacher.{name}'], after[f'student.{name}'])
