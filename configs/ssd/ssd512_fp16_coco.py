_base_ = './ssd512_coco.py'
lr_config = dict(warmup_iters=1000, warmup_ratio=0.1)
fp16 = dict(loss_scale='dynamic')
