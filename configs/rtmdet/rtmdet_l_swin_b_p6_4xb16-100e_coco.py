# Four levels, on images of 1280 pixels.
_base_ = './rtmdet_l_swin_b_4xb32-100e_coco.py'
model = dict(
    backbone=dict(
        depths=[2, 2, 18, 2, 1],
        num_heads=[4, 8, 16, 32, 64],
        strides=(4, 2, 2, 2, 2),
        out_indices=(1, 2, 3, 4),
    ),
    neck=dict(in_channels=[256, 512, 1024, 2048]),
    bbox_head=dict(anchor_generator=dict(type='MlvlPointGenerator', offset=0, strides=[8, 16, 32, 64])),
)
train_pipeline = _base_.train_pipeline
train_pipeline[2].update(img_scale=(1280, 1280))
train_pipeline[3].update(scale=(2560, 2560))
train_pipeline[4].update(crop_size=(1280, 1280))
train_pipeline[7].update(size=(1280, 1280))
train_pipeline[8].update(img_scale=(1280, 1280))
train_pipeline_stage2 = _base_.train_pipeline_stage2
train_pipeline_stage2[2].update(scale=(1280, 1280))
train_pipeline_stage2[3].update(crop_size=(1280, 1280))
train_pipeline_stage2[6].update(size=(1280, 1280))
test_pipeline = _base_.test_pipeline
test_pipeline[1].update(scale=(1280, 1280))
test_pipeline[2].update(size=(1280, 1280))
train_dataloader = dict(batch_size=16, num_workers=20, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=20, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
_base_.custom_hooks[1].switch_pipeline = train_pipeline_stage2

img_scales = [(1280, 1280), (640, 640), (1920, 1920)]
tta_pipeline = _base_.tta_pipeline
tta_pipeline[1].transforms[0] = [dict(type='Resize', scale=scale, keep_ratio=True) for scale in img_scales]
tta_pipeline[1].transforms[2][0].update(size=(1920, 1920))
