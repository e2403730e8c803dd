_base_ = './faster_rcnn_r50_fpn_gn_ws-all_1x_coco.py'
model = dict(
    backbone=dict(
        type='ResNeXt',
        groups=32,
        base_width=4,
        init_cfg=dict(checkpoint='open-mmlab://jhu/resnext50_32x4d_gn_ws'),
    ),
)
