# Blood cells (BCCD) with a YOLOX-nano that starts from its authors' COCO weights: minutes on two cores.
# Expects data/bccd as ../faster_rcnn/faster_rcnn_r18_fpn_bccd.py does. Weights:
#   mmkit convert yolox_nano.pth checkpoints/yolox_nano_coco.pth --from megvii-yolox
_base_ = './yolox_nano_8x8_300e_coco.py'
load_from = 'checkpoints/yolox_nano_coco.pth'
img_scale = (416, 416)
classes = ('RBC', 'WBC', 'Platelets')
data_root = 'data/bccd/'
model = dict(bbox_head=dict(num_classes=3), input_size=img_scale, random_size_range=(11, 15))
train_pipeline = [
    dict(type='Mosaic', img_scale=img_scale, pad_val=114.0),
    dict(type='RandomAffine', scaling_ratio_range=(0.5, 1.5), border=(-208, -208)),
    dict(type='YOLOXHSVRandomAug'),
    dict(type='RandomFlip', flip_ratio=0.75, direction=['horizontal', 'vertical', 'diagonal']),
    dict(type='Resize', img_scale=img_scale, keep_ratio=True),
    dict(type='Pad', pad_to_square=True, pad_val=dict(img=(114.0, 114.0, 114.0))),
    dict(type='FilterAnnotations', keep_empty=False, min_gt_bbox_wh=(1, 1)),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels']),
]
data = dict(
    samples_per_gpu=8,
    workers_per_gpu=0,
    persistent_workers=False,
    train=dict(
        dataset=dict(classes=classes, ann_file=data_root + 'annotations_coco/train.json', img_prefix=data_root),
        pipeline=train_pipeline,
    ),
    val=dict(classes=classes, ann_file=data_root + 'annotations_coco/val.json', img_prefix=data_root),
    test=dict(classes=classes, ann_file=data_root + 'annotations_coco/test.json', img_prefix=data_root),
)
max_epochs = 30
num_last_epochs = 10
optimizer = dict(lr=0.005)
lr_config = dict(warmup_iters=1, num_last_epochs=num_last_epochs)
runner = dict(max_epochs=max_epochs)
evaluation = dict(_delete_=True, interval=5, metric='bbox', save_best='bbox_mAP')
checkpoint_config = dict(interval=5, max_keep_ckpts=2)
log_config = dict(interval=5)
custom_hooks = [
    dict(type='YOLOXModeSwitchHook', num_last_epochs=num_last_epochs, priority=48),
    dict(type='SyncNormHook', num_last_epochs=num_last_epochs, interval=5, priority=48),
    dict(type='ExpMomentumEMAHook', momentum=0.001, priority=49),
]
