_base_ = './mask_rcnn_r50_fpn_r4_gcb_c3-c5_1x_coco.py'
model = dict(
    backbone=dict(norm_cfg=dict(type='SyncBN'), norm_eval=False),
)
