_base_ = './rtmdet-ins_l_8xb32-300e_coco.py'
model = dict(
    backbone=dict(deepen_factor=1.33, widen_factor=1.25),
    neck=dict(in_channels=[320, 640, 1280], out_channels=320, num_csp_blocks=4),
    bbox_head=dict(in_channels=320, feat_channels=320),
)

base_lr = 0.002  # for 8 GPUs with 16 images each
optim_wrapper = dict(optimizer=dict(lr=base_lr))
_base_.param_scheduler[1].eta_min = base_lr * 0.05
