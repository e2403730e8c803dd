# SSD with VGG-16 on 300 x 300 images. arXiv:1512.02325
input_size = 300
model = dict(
    type='SingleStageDetector',
    backbone=dict(
        type='SSDVGG',
        depth=16,
        with_last_pool=False,
        ceil_mode=True,
        out_indices=(3, 4),
        out_feature_indices=(22, 34),
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://vgg16_caffe'),
    ),
    neck=dict(
        type='SSDNeck',
        in_channels=[512, 1024],
        out_channels=[512, 1024, 512, 256, 256, 256],
        l2_norm_scale=20,
        level_paddings=(1, 1, 0, 0),
        level_strides=(2, 2, 1, 1),
    ),
    bbox_head=dict(
        type='SSDHead',
        num_classes=80,
        in_channels=[512, 1024, 512, 256, 256, 256],
        anchor_generator=dict(
            type='SSDAnchorGenerator',
            strides=[8, 16, 32, 64, 100, 300],
            basesize_ratio_range=[0.15, 0.9],
            ratios=[[2], [2, 3], [2, 3], [2, 3], [2], [2]],
            input_size=input_size,
            scale_major=False,
        ),
        bbox_coder=dict(
            type='DeltaXYWHBBoxCoder',
            target_means=[0.0, 0.0, 0.0, 0.0],
            target_stds=[0.1, 0.1, 0.2, 0.2],
        ),
    ),
    train_cfg=dict(
        assigner=dict(
            type='MaxIoUAssigner',
            pos_iou_thr=0.5,
            neg_iou_thr=0.5,
            min_pos_iou=0.0,
            gt_max_assign_all=False,
            ignore_iof_thr=-1,
        ),
        allowed_border=-1,
        pos_weight=-1,
        debug=False,
        neg_pos_ratio=3,
        smoothl1_beta=1.0,
    ),
    test_cfg=dict(
        nms_pre=1000,
        min_bbox_size=0,
        score_thr=0.02,
        nms=dict(type='nms', iou_threshold=0.45),
        max_per_img=200,
    ),
)
