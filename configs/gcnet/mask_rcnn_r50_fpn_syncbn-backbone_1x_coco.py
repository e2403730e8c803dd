_base_ = '../mask_rcnn/mask_rcnn_r50_fpn_1x_coco.py'
model = dict(
    backbone=dict(norm_cfg=dict(type='SyncBN'), norm_eval=False),
)
