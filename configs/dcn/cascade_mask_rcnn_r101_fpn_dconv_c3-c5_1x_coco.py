_base_ = './cascade_mask_rcnn_r50_fpn_dconv_c3-c5_1x_coco.py'
model = dict(
    backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')),
)
