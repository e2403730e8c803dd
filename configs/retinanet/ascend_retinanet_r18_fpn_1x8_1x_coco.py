_base_ = './retinanet_r18_fpn_1x8_1x_coco.py'
model = dict(
    bbox_head=dict(type='AscendRetinaHead'),
    train_cfg=dict(assigner=dict(type='AscendMaxIoUAssigner')),
)
