_base_ = './mask_rcnn_regnetx-4GF_fpn_mstrain-poly_3x_coco.py'
model = dict(
    backbone=dict(arch='regnetx_800mf', init_cfg=dict(checkpoint='open-mmlab://regnetx_800mf')),
    neck=dict(in_channels=[64, 128, 288, 672]),
)
