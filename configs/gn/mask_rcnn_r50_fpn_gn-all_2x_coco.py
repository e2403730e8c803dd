_base_ = '../mask_rcnn/mask_rcnn_r50_caffe_fpn_1x_coco.py'
norm_cfg = dict(type='GN', num_groups=32, requires_grad=True)
model = dict(
    backbone=dict(
        norm_cfg=norm_cfg,
        style='pytorch',
        init_cfg=dict(checkpoint='open-mmlab://detectron/resnet50_gn'),
    ),
    neck=dict(norm_cfg=norm_cfg),
    roi_head=dict(
        bbox_head=dict(type='Shared4Conv1FCBBoxHead', norm_cfg=norm_cfg, conv_out_channels=256),
        mask_head=dict(norm_cfg=norm_cfg),
    ),
)
lr_config = dict(step=[16, 22])
runner = dict(max_epochs=24)
