_base_ = './faster_rcnn_x101_32x4d_fpn_mstrain_3x_coco.py'
model = dict(
    backbone=dict(groups=64, init_cfg=dict(checkpoint='open-mmlab://resnext101_64x4d')),
)
