_base_ = './ssd300_coco.py'
input_size = 512
model = dict(
    neck=dict(
        out_channels=[512, 1024, 512, 256, 256, 256, 256],
        last_kernel_size=4,
        level_paddings=(1, 1, 1, 1, 1),
        level_strides=(2, 2, 2, 2, 1),
    ),
    bbox_head=dict(
        in_channels=[512, 1024, 512, 256, 256, 256, 256],
        anchor_generator=dict(
            strides=[8, 16, 32, 64, 128, 256, 512],
            basesize_ratio_range=[0.1, 0.9],
            ratios=[[2], [2, 3], [2, 3], [2, 3], [2, 3], [2], [2]],
            input_size=input_size,
        ),
    ),
)
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[1, 1, 1], to_rgb=True)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Expand', ratio_range=(1, 4), mean=[123.675, 116.28, 103.53], to_rgb=True),
    dict(type='MinIoURandomCrop', min_crop_size=0.3, min_ious=(0.1, 0.3, 0.5, 0.7, 0.9)),
    dict(type='Resize', img_scale=(input_size, input_size), keep_ratio=False),
    dict(type='RandomFlip', flip_ratio=0.5),
    dict(
        type='PhotoMetricDistortion',
        brightness_delta=32,
        contrast_range=(0.5, 1.5),
        hue_delta=18,
        saturation_range=(0.5, 1.5),
    ),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels']),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='MultiScaleFlipAug',
        img_scale=(input_size, input_size),
        flip=False,
        transforms=[
            dict(type='Resize', keep_ratio=False),
            dict(type='Normalize', **img_norm_cfg),
            dict(type='ImageToTensor', keys=['img']),
            dict(type='Collect', keys=['img']),
        ],
    ),
]
data = dict(
    train=dict(dataset=dict(pipeline=train_pipeline)),
    val=dict(pipeline=test_pipeline),
    test=dict(pipeline=test_pipeline),
)
