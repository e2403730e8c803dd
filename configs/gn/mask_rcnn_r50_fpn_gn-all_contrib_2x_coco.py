_base_ = '../mask_rcnn/mask_rcnn_r50_fpn_2x_coco.py'
norm_cfg = dict(type='GN', num_groups=32, requires_grad=True)
model = dict(
    backbone=dict(
        norm_cfg=dict(type='GN', num_groups=32),
        init_cfg=dict(checkpoint='open-mmlab://contrib/resnet50_gn'),
    ),
    neck=dict(norm_cfg=norm_cfg),
    roi_head=dict(
        bbox_head=dict(type='Shared4Conv1FCBBoxHead', norm_cfg=norm_cfg, conv_out_channels=256),
        mask_head=dict(norm_cfg=norm_cfg),
    ),
)
