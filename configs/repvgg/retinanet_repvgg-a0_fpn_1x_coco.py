_base_ = '../retinanet/retinanet_r50_fpn_1x_coco.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='RepVGG',
        arch='A0',
        out_indices=(0, 1, 2, 3),
        frozen_stages=1,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=True,
        # The authors' weights after `mmkit convert RepVGG-A0-train.pth checkpoints/repvgg_a0.pth --from repvgg`.
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/repvgg_a0.pth'),
    ),
    neck=dict(in_channels=[48, 96, 192, 1280]),
)
