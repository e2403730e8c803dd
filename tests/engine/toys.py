"""A detector, a dataset and a config that train in milliseconds."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmkit.datasets import build_dataloader
from mmkit.datasets.seeded import SeededDataset
from mmkit.engine.optim import build_optimizer
from mmkit.engine.runner import EpochBasedRunner
from mmkit.registry import DATASETS
from mmkit.structures import Batch, ImageMeta, Instances, Sample


@DATASETS.register_module(force=True)
class ToyDataset(SeededDataset):
    """`length` noisy images of 8x8 pixels; `loaded` counts how many were made."""

    CLASSES = ('cat', 'dog')

    def __init__(self, length: int = 12, test_mode: bool = False) -> None:
        super().__init__()
        self.length = length
        self.flag = np.zeros(length, np.uint8)
        self.loaded: list[int] = []
        self.scores = iter([])

    def __len__(self) -> int:
        return self.length

    def get(self, index: int, rng: np.random.Generator) -> Sample:
        self.loaded.append(index)
        img = torch.from_numpy(rng.normal(index / self.length, 0.1, (3, 8, 8)).astype(np.float32))
        meta = ImageMeta(f'/images/{index}.jpg', f'{index}.jpg', index, (8, 8), (8, 8), (8, 8), np.ones(4, np.float32))
        gt = Instances(torch.tensor([[0.0, 0.0, index + 1.0, 2.0]]), torch.tensor([index % 2]))
        return Sample(img=img, meta=meta, gt=gt)

    def evaluate(self, outputs: list[Instances], metric: str = 'bbox') -> dict[str, float]:
        return {f'{metric}_mAP': next(self.scores, float(len(outputs)))}


class ToyHead(nn.Linear):
    compares_classes = True
    num_classes = 2


class ToyDetector(nn.Module):
    """A convolution, a norm and dropout, so that weights, buffers and random numbers all matter."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.bbox_head = ToyHead(4, 1)
        self.drop = nn.Dropout(0.3)

    def outs(self, imgs: Tensor) -> Tensor:
        return self.bbox_head(self.drop(self.bn(self.conv(imgs)).relu()).mean((2, 3)))[:, 0]  # (B,)

    def loss(self, batch: Batch) -> dict[str, Any]:
        assert batch.gts is not None
        target = torch.stack([gt.bboxes[0, 2] for gt in batch.gts])
        error = (self.outs(batch.imgs) - target / 12).abs()
        return {'loss_bbox': error, 'loss_cls': [error.square(), 0.1 * error], 'acc': error.detach() * 0 + 50}

    def preprocess(self, batch: Batch) -> Batch:
        return batch

    def predict(self, batch: Batch, rescale: bool = True) -> list[Instances]:
        return [Instances.empty() for _ in batch.metas]

    def forward(self, batch: Batch) -> Any:
        return self.loss(batch) if self.training else self.predict(batch)


def toy_model(seed: int = 0) -> ToyDetector:
    torch.manual_seed(seed)
    return ToyDetector()


def toy_config(work_dir: Any, **changes: Any) -> dict[str, Any]:
    return {
        'optimizer': {'type': 'SGD', 'lr': 0.05, 'momentum': 0.9},
        'optimizer_config': {'grad_clip': {'max_norm': 5.0, 'norm_type': 2}},
        'lr_config': {'policy': 'step', 'step': [2, 3], 'warmup': 'linear', 'warmup_iters': 4},
        'runner': {'type': 'EpochBasedRunner', 'max_epochs': 4},
        'checkpoint_config': {'interval': 1},
        'log_config': {'interval': 2, 'hooks': [{'type': 'TextLoggerHook'}]},
        'data': {
            'samples_per_gpu': 2,
            'workers_per_gpu': 0,
            'train': {'type': 'ToyDataset'},
            'val': {'type': 'ToyDataset', 'length': 4},
        },
        'work_dir': str(work_dir),
        'seed': 3,
        'device': 'cpu',
        **changes,
    }


def loaders_of(*lengths: int, batch: int = 2):
    return [build_dataloader(ToyDataset(length), batch, 0, seed=0, shuffle=False) for length in lengths]


def runner_of(kind=EpochBasedRunner, **arguments):
    model = arguments.pop('model', None) or toy_model()
    return kind(model, build_optimizer(model, {'type': 'SGD', 'lr': 0.1}), **arguments)


def run_with(*hooks, epochs=1, length=8, model=None, **loader):
    model = model or toy_model()
    runner = EpochBasedRunner(
        model, build_optimizer(model, {'type': 'SGD', 'lr': 0.1, 'momentum': 0.9}), max_epochs=epochs
    )
    for hook in hooks:
        runner.register_hook(hook)
    runner.run([build_dataloader(ToyDataset(length), 2, 0, seed=0, **loader)])
    return runner
