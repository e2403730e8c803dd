_base_ = './faster_rcnn_x50_32x4d_fpn_gn_ws-all_1x_coco.py'
model = dict(
    backbone=dict(depth=101, init_cfg=dict(checkpoint='open-mmlab://jhu/resnext101_32x4d_gn_ws')),
)
