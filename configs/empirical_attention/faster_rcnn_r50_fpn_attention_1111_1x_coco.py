_base_ = '../faster_rcnn/faster_rcnn_r50_fpn_1x_coco.py'
model = dict(
    backbone=dict(
        plugins=[
            dict(
                position='after_conv2',
                cfg=dict(
                    type='GeneralizedAttention',
                    num_heads=8,
                    attention_type='1111',
                    kv_stride=2,
                    spatial_range=-1,
                ),
                stages=(False, False, True, True),
            ),
        ],
    ),
)
