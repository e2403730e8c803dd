_base_ = '../dcn/faster_rcnn_r50_fpn_dpool_1x_coco.py'
model = dict(
    roi_head=dict(
        bbox_roi_extractor=dict(roi_layer=dict(type='ModulatedDeformRoIPoolPack')),
    ),
)
