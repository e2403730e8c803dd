_base_ = './htc_r50_fpn_20e_coco.py'
model = dict(
    backbone=dict(
        type='ResNeXt',
        depth=101,
        groups=32,
        base_width=4,
        init_cfg=dict(checkpoint='open-mmlab://resnext101_32x4d'),
    ),
)
data = dict(samples_per_gpu=1, workers_per_gpu=1)
