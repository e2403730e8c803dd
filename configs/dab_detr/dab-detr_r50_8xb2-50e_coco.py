_base_ = '../detr/detr_r50_8xb2-150e_coco.py'
attention = dict(_delete_=True, embed_dims=256, num_heads=8, attn_drop=0.0, proj_drop=0.0)
ffn_cfg = dict(ffn_drop=0.0, act_cfg=dict(_delete_=True, type='PReLU'))
model = dict(
    type='DABDETR',
    num_queries=300,
    with_random_refpoints=False,
    num_patterns=0,
    encoder=dict(layer_cfg=dict(self_attn_cfg=dict(dropout=0.0), ffn_cfg=ffn_cfg)),
    decoder=dict(
        query_dim=4,
        query_scale_type='cond_elewise',
        with_modulated_hw_attn=True,
        layer_cfg=dict(
            self_attn_cfg=dict(cross_attn=False, **attention),
            cross_attn_cfg=dict(cross_attn=True, **attention),
            ffn_cfg=ffn_cfg,
        ),
    ),
    positional_encoding=dict(temperature=20),
    bbox_head=dict(
        type='DABDETRHead',
        loss_cls=dict(_delete_=True, type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
    ),
    train_cfg=dict(
        assigner=dict(
            match_costs=[
                dict(type='FocalLossCost', weight=2.0, eps=1e-8),
                dict(type='BBoxL1Cost', weight=5.0, box_format='xywh'),
                dict(type='IoUCost', iou_mode='giou', weight=2.0),
            ],
        )
    ),
    test_cfg=dict(max_per_img=300),
)
del attention, ffn_cfg
max_epochs = 50
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [dict(type='MultiStepLR', begin=0, end=max_epochs, by_epoch=True, milestones=[40], gamma=0.1)]
auto_scale_lr = dict(enable=False)
