_base_ = './mask_rcnn_regnetx-4GF_fpn_mstrain-poly_3x_coco.py'
model = dict(
    backbone=dict(arch='regnetx_1.6gf', init_cfg=dict(checkpoint='open-mmlab://regnetx_1.6gf')),
    neck=dict(in_channels=[72, 168, 408, 912]),
)
