_base_ = '../faster_rcnn/faster_rcnn_r50_fpn_1x_coco.py'
model = dict(
    neck=[
        dict(type='FPN', in_channels=[256, 512, 1024, 2048], out_channels=256, num_outs=5),
        dict(type='BFP', in_channels=256, num_levels=5, refine_level=2, refine_type='non_local'),
    ],
    roi_head=dict(
        bbox_head=dict(loss_bbox=dict(type='BalancedL1Loss', gamma=1.5, alpha=0.5, beta=1.0)),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(neg_pos_ub=5)),
        rcnn=dict(
            sampler=dict(
                _delete_=True,
                type='CombinedSampler',
                num=512,
                pos_fraction=0.25,
                add_gt_as_proposals=True,
                neg_sampler=dict(
                    type='IoUBalancedNegSampler',
                    floor_fraction=0,
                    floor_thr=-1,
                    num_bins=3,
                ),
                pos_sampler=dict(type='InstanceBalancedPosSampler'),
            ),
        ),
    ),
)
