_base_ = './faster_rcnn_x101_32x4d_fpn_1x_coco.py'
lr_config = dict(step=[16, 22])
runner = dict(max_epochs=24)
