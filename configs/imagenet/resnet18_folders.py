# A small backbone on small images, a folder for each class, in minutes on two cores: that of
# configs/faster_rcnn/faster_rcnn_r18_fpn_shapes.py, learned on pieces of its images (docs/classification.md).
_base_ = ['../_base_/models/resnet18.py', '../_base_/default_runtime.py']
model = dict(backbone=dict(base_channels=32), head=dict(num_classes=3, in_channels=256, topk=(1,)))
dataset_type = 'ImageNet'
data_root = 'data/shape_pieces/'
classes = ('circle', 'square', 'triangle')  # the folders; one that is missing is an error, not a shift of labels
img_norm_cfg = dict(mean=[127.5, 127.5, 127.5], std=[64.0, 64.0, 64.0], to_rgb=True)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', size=64, scale=(0.5, 1.0)),
    dict(type='RandomFlip', flip_prob=0.5, direction='horizontal'),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='ImageToTensor', keys=['img']),
    dict(type='ToTensor', keys=['gt_label']),
    dict(type='Collect', keys=['img', 'gt_label']),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', size=(72, -1)),
    dict(type='CenterCrop', crop_size=64),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='ImageToTensor', keys=['img']),
    dict(type='Collect', keys=['img']),
]
data = dict(
    samples_per_gpu=32,
    workers_per_gpu=0,
    val_dataloader=dict(samples_per_gpu=32),
    test_dataloader=dict(samples_per_gpu=32),
    train=dict(type=dataset_type, classes=classes, data_prefix=data_root + 'train', pipeline=train_pipeline),
    val=dict(type=dataset_type, classes=classes, data_prefix=data_root + 'val', pipeline=test_pipeline),
    test=dict(type=dataset_type, classes=classes, data_prefix=data_root + 'val', pipeline=test_pipeline),
)
evaluation = dict(interval=1, metric='accuracy', save_best='accuracy_top-1')
optimizer = dict(type='AdamW', lr=0.001, weight_decay=0.05)
optimizer_config = dict(grad_clip=None)
lr_config = dict(policy='CosineAnnealing', by_epoch=False, min_lr=1e-6)
runner = dict(type='EpochBasedRunner', max_epochs=10)
checkpoint_config = dict(interval=1, max_keep_ckpts=1)
log_config = dict(interval=10, hooks=[dict(type='TextLoggerHook')])
