_base_ = [
    '../_base_/models/mask_rcnn_r50_fpn.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/schedule_2x.py',
    '../_base_/default_runtime.py',
]
norm_cfg = dict(type='GN', num_groups=32, requires_grad=True)
conv_cfg = dict(type='ConvWS')
model = dict(
    backbone=dict(
        conv_cfg=conv_cfg,
        norm_cfg=dict(type='GN', num_groups=32),
        init_cfg=dict(checkpoint='open-mmlab://jhu/resnet50_gn_ws'),
    ),
    neck=dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg),
    roi_head=dict(
        bbox_head=dict(
            type='Shared4Conv1FCBBoxHead',
            conv_cfg=conv_cfg,
            norm_cfg=norm_cfg,
            conv_out_channels=256,
        ),
        mask_head=dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg),
    ),
)
