"""Batches of made-up images for tests of heads and detectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mmkit.structures import Batch, ImageMeta, Instances

Box = Sequence[float]


def meta(height: int = 16, width: int = 16, scale: float = 1.0, pad_shape: tuple[int, int] | None = None) -> ImageMeta:
    return ImageMeta(
        filename='a.jpg',
        ori_filename='a.jpg',
        img_id=0,
        ori_shape=(int(height / scale), int(width / scale)),
        img_shape=(height, width),
        pad_shape=pad_shape or (height, width),
        scale_factor=np.full(4, scale, dtype=np.float32),
    )


def truth(*objects: tuple[Box, int]) -> Instances:
    """Ground truth from (box, label) pairs."""
    return Instances(
        bboxes=torch.tensor([list(box) for box, _ in objects], dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor([label for _, label in objects], dtype=torch.long),
    )


def batch_of(*gts: Instances, height: int = 16, width: int = 16, pad_shape: tuple[int, int] | None = None) -> Batch:
    """One image for each ground truth."""
    return Batch(
        imgs=torch.zeros(len(gts), 3, height, width),
        metas=[meta(height, width, pad_shape=pad_shape) for _ in gts],
        gts=list(gts),
        ignored=[torch.zeros(0, 4) for _ in gts],
    )


def zeros(*channels: int, size: int = 2, num_levels: int = 1) -> tuple[list[torch.Tensor], ...]:
    """Outputs of a head for one image that say nothing: one list of levels for each number of channels."""
    return tuple([torch.zeros(1, c, size, size) for _ in range(num_levels)] for c in channels)
