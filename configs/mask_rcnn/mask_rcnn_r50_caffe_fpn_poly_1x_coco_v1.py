_base_ = './mask_rcnn_r50_caffe_fpn_1x_coco.py'
model = dict(
    rpn_head=dict(loss_bbox=dict(type='SmoothL1Loss', beta=0.1111111111111111)),
    roi_head=dict(
        bbox_head=dict(loss_bbox=dict(type='SmoothL1Loss', beta=1.0)),
        bbox_roi_extractor=dict(roi_layer=dict(sampling_ratio=2, aligned=False)),
        mask_roi_extractor=dict(roi_layer=dict(sampling_ratio=2, aligned=False)),
    ),
)
img_norm_cfg = dict(mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], to_rgb=False)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True, poly2mask=False),
    dict(type='Resize', img_scale=(1333, 800), keep_ratio=True),
    dict(type='RandomFlip', flip_ratio=0.5),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='Pad', size_divisor=32),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels', 'gt_masks']),
]
data = dict(train=dict(pipeline=train_pipeline))
