# Blood cells as in ../faster_rcnn/faster_rcnn_mbv2_fpn_bccd.py, with a RetinaNet.
_base_ = '../faster_rcnn/faster_rcnn_mbv2_fpn_bccd.py'
model = dict(
    _delete_=True,
    type='RetinaNet',
    backbone=dict(
        type='MobileNetV2',
        out_indices=(2, 4, 7),
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/mobilenet_v2.pth'),
    ),
    neck=dict(
        type='FPN',
        in_channels=[32, 96, 1280],
        out_channels=64,
        add_extra_convs='on_input',
        num_outs=4,
        norm_cfg=dict(type='BN'),
    ),
    bbox_head=dict(
        type='RetinaHead',
        num_classes=3,
        in_channels=64,
        stacked_convs=2,
        feat_channels=64,
        norm_cfg=dict(type='BN'),
        anchor_generator=dict(
            type='AnchorGenerator',
            octave_base_scale=2,
            scales_per_octave=3,
            ratios=[0.7, 1.0, 1.4],
            strides=[8, 16, 32, 64],
        ),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[1.0, 1.0, 1.0, 1.0]),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type='L1Loss', loss_weight=1.0),
    ),
    train_cfg=dict(
        assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0),
        allowed_border=-1,
        pos_weight=-1,
        debug=False,
    ),
    test_cfg=dict(nms_pre=500, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=100),
)
runner = dict(max_epochs=12)
