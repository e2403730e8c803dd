_base_ = ['../common/mstrain_3x_coco.py', '../_base_/models/retinanet_r50_fpn.py']
optimizer = dict(lr=0.01)
