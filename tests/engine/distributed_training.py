"""Run by test_distributed.py: trains a toy, or a small ATSS, in this process, or in several under torchrun.

python distributed_training.py WORK_DIR IMAGES_PER_PROCESS LAUNCHER [OPTION ...]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

from mmkit.apis import train_detector
from mmkit.datasets import build_dataset
from mmkit.engine.losses import NonFiniteError
from mmkit.models import build_detector
from mmkit.utils import dist
from tests.engine.toys import ToyDataset, ToyDetector, toy_config
from tests.tiny import tiny_config


class Breaks(ToyDetector):
    """The loss of the last process is infinite in iteration 3, without a trace in its gradient."""

    iteration = -1

    def set_progress(self, progress):
        self.iteration = progress.iter

    def loss(self, batch):
        losses = super().loss(batch)
        if self.iteration == 2 and dist.get_rank() == dist.get_world_size() - 1:
            losses['loss_bbox'] = losses['loss_bbox'] + torch.inf
        return losses


def main(work_dir: str, images: str, launcher: str, *options: str) -> None:
    dist.init_dist(launcher, 'gloo')
    if 'detector' in options:
        train_atss(work_dir, int(images), launcher)
        return
    torch.manual_seed(0)
    model = Breaks() if 'breaks' in options else ToyDetector()
    model.bn, model.drop = nn.Identity(), nn.Dropout(0.3 if 'dropout' in options else 0)
    cfg = toy_config(work_dir, log_config={'interval': 1, 'hooks': [{'type': 'TextLoggerHook'}]}, evaluation={})
    cfg['data']['samples_per_gpu'] = int(images)
    cfg['data']['val']['length'] = 5
    if 'short' in options:
        cfg['runner'] = {'type': 'EpochBasedRunner', 'max_epochs': 2}
    cfg['auto_resume'] = 'auto_resume' in options
    torch.manual_seed(dist.get_rank() + 1)
    if 'breaks' in options:
        expect_the_same_error(model, cfg)
        return
    runner = train_detector(model, ToyDataset(16), cfg, launcher != 'none', validate=True)
    weights = [value.detach().clone() for value in runner.module.parameters()]
    for other in dist.all_gather_object(weights):
        assert all(torch.equal(one, two) for one, two in zip(weights, other)), 'processes have different weights'


def expect_the_same_error(model, cfg) -> None:
    """In every process, about the images of the one whose loss is infinite; all have the weights of the step before."""
    try:
        train_detector(model, ToyDataset(16), cfg, distributed=True)
    except NonFiniteError as error:
        outcome = str(error), [value.detach().clone() for value in model.parameters()]
    first, *others = dist.all_gather_object(outcome)
    for other in others:
        assert first[0] == other[0] and all(torch.equal(one, two) for one, two in zip(first[1], other[1]))
    assert first[0].startswith('loss_bbox = inf, loss = inf in iteration 3 (epoch 1) for /images/'), first[0]
    assert first[0].count('/images/') == 2, first[0]


def train_atss(work_dir: str, images: int, launcher: str) -> None:
    """On the data set beside `work_dir`. Its normalisers are averaged over processes, and nothing in it is random."""
    cfg = tiny_config(Path(work_dir).parent / 'data')
    anchors = dict(
        type='AnchorGenerator', ratios=[1.0], octave_base_scale=4, scales_per_octave=1, strides=[4, 8, 16, 32, 64]
    )
    cfg.model = dict(
        type='ATSS',
        backbone={**cfg.model.backbone, 'norm_eval': True},
        neck=cfg.model.neck,
        bbox_head=dict(
            type='ATSSHead',
            num_classes=2,
            in_channels=8,
            feat_channels=8,
            stacked_convs=1,
            norm_cfg=None,
            anchor_generator=anchors,
            bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]),
            loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
        ),
        train_cfg=dict(assigner=dict(type='ATSSAssigner', topk=9)),
    )
    cfg.optimizer, cfg.lr_config = dict(type='SGD', lr=0.01), dict(policy='fixed')
    cfg.merge_from_dict(
        {
            'work_dir': work_dir,
            'seed': 3,
            'data.samples_per_gpu': images,
            'runner.max_epochs': 2,
            'log_config.interval': 1,
        }
    )
    torch.manual_seed(0)
    model = build_detector(cfg.model)
    train_detector(model, build_dataset(cfg.data.train), cfg, launcher != 'none')


if __name__ == '__main__':
    main(*sys.argv[1:])
    dist.leave()
