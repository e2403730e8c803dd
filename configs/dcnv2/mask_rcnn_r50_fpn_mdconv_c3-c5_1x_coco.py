_base_ = '../dcn/mask_rcnn_r50_fpn_dconv_c3-c5_1x_coco.py'
model = dict(
    backbone=dict(dcn=dict(type='DCNv2')),
)
