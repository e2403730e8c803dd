_base_ = ['../common/mstrain_3x_coco.py', '../_base_/models/retinanet_r50_fpn.py']
model = dict(
    pretrained='open-mmlab://resnext101_64x4d',
    backbone=dict(type='ResNeXt', depth=101, groups=64, base_width=4),
)
optimizer = dict(lr=0.01)
