_base_ = './rtmdet_s_8xb32-300e_coco.py'
checkpoint = (
    'https://download.openmmlab.com/mmdetection/v3.0/rtmdet/cspnext_rsb_pretrain/cspnext-tiny_imagenet_600e.pth'
)
model = dict(
    backbone=dict(
        deepen_factor=0.167,
        widen_factor=0.375,
        init_cfg=dict(type='Pretrained', prefix='backbone.', checkpoint=checkpoint),
    ),
    neck=dict(in_channels=[96, 192, 384], out_channels=96, num_csp_blocks=1),
    bbox_head=dict(in_channels=96, feat_channels=96, exp_on_reg=False),
)
train_pipeline = _base_.train_pipeline
train_pipeline[2].update(max_cached_images=20, random_pop=False)
train_pipeline[8].update(max_cached_images=10, random_pop=False, prob=0.5)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
