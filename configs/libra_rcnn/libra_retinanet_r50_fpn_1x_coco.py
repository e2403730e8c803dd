_base_ = '../retinanet/retinanet_r50_fpn_1x_coco.py'
model = dict(
    neck=[
        dict(
            type='FPN',
            in_channels=[256, 512, 1024, 2048],
            start_level=1,
            add_extra_convs='on_input',
            out_channels=256,
            num_outs=5,
        ),
        dict(type='BFP', in_channels=256, num_levels=5, refine_level=1, refine_type='non_local'),
    ],
    bbox_head=dict(loss_bbox=dict(type='BalancedL1Loss', gamma=1.5, alpha=0.5, beta=0.11)),
)
