_base_ = './mask_rcnn_r50_fpn_syncbn-backbone_r16_gcb_c3-c5_1x_coco.py'
model = dict(
    backbone=dict(
        type='ResNeXt',
        depth=101,
        groups=32,
        base_width=4,
        init_cfg=dict(checkpoint='open-mmlab://resnext101_32x4d'),
    ),
)
