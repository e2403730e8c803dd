# Blood cells as in ../faster_rcnn/faster_rcnn_mbv2_fpn_bccd.py, without anchors.
_base_ = '../faster_rcnn/faster_rcnn_mbv2_fpn_bccd.py'
model = dict(
    _delete_=True,
    type='FCOS',
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
        add_extra_convs='on_output',
        relu_before_extra_convs=True,
        num_outs=4,
        norm_cfg=dict(type='BN'),
    ),
    bbox_head=dict(
        type='FCOSHead',
        num_classes=3,
        in_channels=64,
        stacked_convs=2,
        feat_channels=64,
        strides=[8, 16, 32, 64],
        regress_ranges=((-1, 32), (32, 64), (64, 128), (128, 1e8)),
        center_sampling=True,
        centerness_on_reg=True,
        norm_on_bbox=True,
        norm_cfg=dict(type='BN'),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=1.0),
        loss_centerness=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
    ),
    train_cfg=None,
    test_cfg=dict(nms_pre=500, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=100),
)
runner = dict(max_epochs=12)
