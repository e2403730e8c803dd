_base_ = './rtmdet_l_8xb32-300e_coco.py'
model = dict(
    bbox_head=dict(
        _delete_=True,
        type='RTMDetInsSepBNHead',
        num_classes=80,
        in_channels=256,
        feat_channels=256,
        stacked_convs=2,
        share_conv=True,
        pred_kernel_size=1,
        norm_cfg=dict(type='SyncBN', requires_grad=True),
        act_cfg=dict(type='SiLU', inplace=True),
        anchor_generator=dict(type='MlvlPointGenerator', offset=0, strides=[8, 16, 32]),
        bbox_coder=dict(type='DistancePointBBoxCoder'),
        loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0, loss_weight=1.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
        loss_mask=dict(type='DiceLoss', loss_weight=2.0, eps=5e-6, reduction='mean'),
    ),
    test_cfg=dict(
        nms_pre=1000,
        score_thr=0.05,
        min_bbox_size=0,
        nms=dict(type='nms', iou_threshold=0.6),
        max_per_img=100,
        mask_thr_binary=0.5,
    ),
)
train_pipeline = _base_.train_pipeline
train_pipeline[1].update(with_mask=True, poly2mask=False)
train_pipeline[4].update(recompute_bbox=True, allow_negative_crop=True)
train_pipeline.insert(9, dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1)))
train_pipeline_stage2 = _base_.train_pipeline_stage2
train_pipeline_stage2[1].update(with_mask=True, poly2mask=False)
train_pipeline_stage2[3].update(recompute_bbox=True, allow_negative_crop=True)
train_pipeline_stage2.insert(4, dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1)))
train_dataloader = dict(pin_memory=True, dataset=dict(pipeline=train_pipeline))
val_evaluator = dict(metric=['bbox', 'segm'])
test_evaluator = val_evaluator
_base_.custom_hooks[1].switch_pipeline = train_pipeline_stage2
