# Blood cells as in ../faster_rcnn/faster_rcnn_mbv2_fpn_bccd.py, with a cascade of three heads.
_base_ = '../faster_rcnn/faster_rcnn_mbv2_fpn_bccd.py'
head = dict(
    type='Shared2FCBBoxHead',
    in_channels=64,
    fc_out_channels=256,
    roi_feat_size=7,
    num_classes=3,
    reg_class_agnostic=True,
    loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    loss_bbox=dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0),
)
sampler = dict(type='RandomSampler', num=128, pos_fraction=0.25, neg_pos_ub=-1, add_gt_as_proposals=True)
model = dict(
    type='CascadeRCNN',
    roi_head=dict(
        _delete_=True,
        type='CascadeRoIHead',
        num_stages=3,
        stage_loss_weights=[1, 0.5, 0.25],
        bbox_roi_extractor=dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0),
            out_channels=64,
            featmap_strides=[4, 8, 16, 32],
        ),
        bbox_head=[
            dict(bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]), **head),
            dict(bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.05, 0.05, 0.1, 0.1]), **head),
            dict(bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.033, 0.033, 0.067, 0.067]), **head),
        ],
    ),
    train_cfg=dict(
        rcnn=[
            dict(
                assigner=dict(
                    type='MaxIoUAssigner',
                    pos_iou_thr=thr,
                    neg_iou_thr=thr,
                    min_pos_iou=thr,
                    match_low_quality=False,
                    ignore_iof_thr=-1,
                ),
                sampler=sampler,
                pos_weight=-1,
                debug=False,
            )
            for thr in (0.5, 0.6, 0.7)
        ]
    ),
)
runner = dict(max_epochs=12)
