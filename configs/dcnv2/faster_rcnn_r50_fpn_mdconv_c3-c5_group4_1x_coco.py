_base_ = '../dcn/faster_rcnn_r50_fpn_dconv_c3-c5_1x_coco.py'
model = dict(
    backbone=dict(dcn=dict(type='DCNv2', deform_groups=4)),
)
