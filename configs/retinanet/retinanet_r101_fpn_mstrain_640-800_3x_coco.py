_base_ = ['../common/mstrain_3x_coco.py', '../_base_/models/retinanet_r50_fpn.py']
model = dict(pretrained='torchvision://resnet101', backbone=dict(depth=101))
optimizer = dict(lr=0.01)
