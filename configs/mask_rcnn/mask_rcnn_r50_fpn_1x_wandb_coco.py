_base_ = [
    '../_base_/models/mask_rcnn_r50_fpn.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]
evaluation = dict(interval=2)
checkpoint_config = dict(interval=4)
log_config = dict(
    hooks=[
        dict(type='TextLoggerHook'),
        dict(
            type='MMDetWandbHook',
            interval=50,
            init_kwargs=dict(group='maskrcnn-r50-fpn-1x-coco', project='mmdetection'),
            log_checkpoint=True,
            log_checkpoint_metadata=True,
            num_eval_images=100,
        ),
    ],
)
