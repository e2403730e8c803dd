# Blood cells (BCCD) with RTMDet's neck and head on a MobileNetV2 that starts from ImageNet: minutes on two cores.
# Expects data/bccd as ../faster_rcnn/faster_rcnn_r18_fpn_bccd.py does. Weights:
#   mmkit convert torchvision://mobilenet_v2 checkpoints/mobilenet_v2.pth --from torchvision
_base_ = './rtmdet_tiny_8xb32-300e_coco.py'
del _base_.checkpoint, _base_.train_pipeline_stage2, _base_.stage2_num_epochs
model = dict(
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5], bgr_to_rgb=True, pad_size_divisor=32),
    backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        out_indices=(2, 4, 6),
        frozen_stages=2,
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/mobilenet_v2.pth'),
    ),
    neck=dict(in_channels=[32, 96, 320], out_channels=64),
    bbox_head=dict(num_classes=3, in_channels=64, feat_channels=64),
    test_cfg=dict(nms_pre=500, max_per_img=100),
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomResize', scale=(400, 300), ratio_range=(0.8, 1.2), keep_ratio=True),
    dict(type='RandomFlip', prob=[0.25, 0.25, 0.25], direction=['horizontal', 'vertical', 'diagonal']),
    dict(type='PhotoMetricDistortion', brightness_delta=16, hue_delta=8),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(400, 300), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
metainfo = dict(classes=('RBC', 'WBC', 'Platelets'))
data_root = 'data/bccd/'
files = dict(data_root=data_root, data_prefix=dict(img=''), metainfo=metainfo)
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(ann_file='annotations_coco/train.json', filter_cfg=dict(min_size=0), pipeline=train_pipeline, **files),
)
val_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(ann_file='annotations_coco/val.json', pipeline=test_pipeline, **files),
)
test_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(ann_file='annotations_coco/test.json', pipeline=test_pipeline, **files),
)
val_evaluator = dict(ann_file=data_root + 'annotations_coco/val.json', classwise=True)
test_evaluator = dict(ann_file=data_root + 'annotations_coco/test.json', classwise=True)

max_epochs = 12
base_lr = 0.001
train_cfg = dict(max_epochs=max_epochs, val_interval=4, dynamic_intervals=None)
optim_wrapper = dict(optimizer=dict(lr=base_lr), paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.2))))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        eta_min=base_lr * 0.05,
        begin=max_epochs // 2,
        end=max_epochs,
        T_max=max_epochs - max_epochs // 2,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
default_hooks = dict(checkpoint=dict(interval=4, max_keep_ckpts=1), logger=dict(interval=10))
custom_hooks = [dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.002, update_buffers=True, priority=49)]
