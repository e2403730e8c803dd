_base_ = './htc_x101_32x4d_fpn_16x1_20e_coco.py'
model = dict(
    backbone=dict(groups=64, init_cfg=dict(checkpoint='open-mmlab://resnext101_64x4d')),
)
