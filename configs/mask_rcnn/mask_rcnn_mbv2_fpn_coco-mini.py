# Masks of a few images learned by heart: 79 images of COCO val2017, trained and tested on. It shows that masks learn, and
# nothing about other images. Expects data/coco_mini/{val2017,annotations}, any small part of COCO. Weights:
#   mmkit convert torchvision://mobilenet_v2 checkpoints/mobilenet_v2.pth --from torchvision
_base_ = ['../_base_/models/mask_rcnn_r50_fpn.py', '../_base_/default_runtime.py']
model = dict(
    backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        out_indices=(1, 2, 4, 7),
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/mobilenet_v2.pth'),
    ),
    neck=dict(in_channels=[24, 32, 96, 1280], out_channels=64, norm_cfg=dict(type='GN', num_groups=16)),
    rpn_head=dict(in_channels=64, feat_channels=64, anchor_generator=dict(scales=[4])),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64),
        bbox_head=dict(in_channels=64, fc_out_channels=512),
        mask_roi_extractor=dict(out_channels=64),
        mask_head=dict(in_channels=64, conv_out_channels=64),
    ),
    train_cfg=dict(rpn_proposal=dict(nms_pre=500, max_per_img=300), rcnn=dict(sampler=dict(num=128))),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=300)),
)
img_norm_cfg = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5], to_rgb=True)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', img_scale=(512, 384), keep_ratio=True),
    dict(type='RandomFlip', flip_ratio=0.0),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='Pad', size_divisor=32),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels', 'gt_masks']),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='MultiScaleFlipAug',
        img_scale=(512, 384),
        flip=False,
        transforms=[
            dict(type='Resize', keep_ratio=True),
            dict(type='RandomFlip'),
            dict(type='Normalize', **img_norm_cfg),
            dict(type='Pad', size_divisor=32),
            dict(type='ImageToTensor', keys=['img']),
            dict(type='Collect', keys=['img']),
        ],
    ),
]
data_root = 'data/coco_mini/'
images = dict(
    type='CocoDataset',
    ann_file=data_root + 'annotations/instances_val2017.json',
    img_prefix=data_root + 'val2017/',
)
data = dict(
    samples_per_gpu=2,
    workers_per_gpu=0,
    train=dict(pipeline=train_pipeline, **images),
    val=dict(pipeline=test_pipeline, **images),
    test=dict(pipeline=test_pipeline, **images),
)
evaluation = dict(interval=10, metric=['bbox', 'segm'])
optimizer = dict(
    type='AdamW',
    lr=0.0005,
    weight_decay=0.0,
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.2))),
)
optimizer_config = dict(grad_clip=dict(max_norm=5.0))
lr_config = dict(
    policy='CosineAnnealing',
    by_epoch=False,
    min_lr=1e-6,
    warmup='linear',
    warmup_iters=100,
    warmup_ratio=0.01,
)
runner = dict(type='EpochBasedRunner', max_epochs=50)
checkpoint_config = dict(interval=10, max_keep_ckpts=1)
log_config = dict(interval=10, hooks=[dict(type='TextLoggerHook')])
