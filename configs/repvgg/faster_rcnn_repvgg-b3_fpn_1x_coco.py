_base_ = '../faster_rcnn/faster_rcnn_r50_fpn_1x_coco.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='RepVGG',
        arch='B3',
        out_indices=(0, 1, 2, 3),
        frozen_stages=1,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=True,
        # The authors' weights after `mmkit convert RepVGG-B3-train.pth checkpoints/repvgg_b3.pth --from repvgg`.
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/repvgg_b3.pth'),
    ),
    neck=dict(in_channels=[192, 384, 768, 2560]),
)
