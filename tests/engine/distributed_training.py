"""Run by test_distributed.py: trains a toy in this process, or in several under torchrun.

python distributed_training.py WORK_DIR IMAGES_PER_PROCESS LAUNCHER [auto_resume]
"""

from __future__ import annotations

import sys

import torch
from torch import nn

from mmkit.apis import train_detector
from mmkit.utils import dist
from tests.engine.toys import ToyDataset, ToyDetector, toy_config


def main(work_dir: str, images: str, launcher: str, *options: str) -> None:
    dist.init_dist(launcher, 'gloo')
    torch.manual_seed(0)
    model = ToyDetector()
    model.bn, model.drop = nn.Identity(), nn.Dropout(0.3 if 'dropout' in options else 0)
    cfg = toy_config(work_dir, log_config={'interval': 1, 'hooks': [{'type': 'TextLoggerHook'}]}, evaluation={})
    cfg['data']['samples_per_gpu'] = int(images)
    cfg['data']['val']['length'] = 5
    if 'short' in options:
        cfg['runner'] = {'type': 'EpochBasedRunner', 'max_epochs': 2}
    cfg['auto_resume'] = 'auto_resume' in options
    torch.manual_seed(dist.get_rank() + 1)
    runner = train_detector(model, ToyDataset(16), cfg, launcher != 'none', validate=True)
    weights = [value.detach().clone() for value in runner.module.parameters()]
    for other in dist.all_gather_object(weights):
        assert all(torch.equal(one, two) for one, two in zip(weights, other)), 'processes have different weights'


if __name__ == '__main__':
    main(*sys.argv[1:])
