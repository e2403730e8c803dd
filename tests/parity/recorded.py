"""Weights and inputs made from seeds, and comparisons with the recorded figures."""

from __future__ import annotations

import functools
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmkit.structures import Batch, BitmapMasks, ImageMeta, Instances

FIGURES = Path(__file__).parent / 'figures'


def read_json(name: str) -> Any:
    return json.loads((FIGURES / name).read_text())


# ------------------------------------------------------------------------------------------------ configs


def as_json(value: Any) -> Any:
    """A config value as JSON sees it: tuples are lists, keys are strings."""
    return json.loads(json.dumps(value))


def difference(ours: Any, theirs: Any, path: str = 'cfg') -> str | None:
    """The first difference of two nested values, None if they are equal."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(ours.keys() | theirs.keys()):
            if key not in ours or key not in theirs:
                return f'{path}.{key} is {"missing" if key not in ours else "not in the reference"}'
            first = difference(ours[key], theirs[key], f'{path}.{key}')
            if first:
                return first
        return None
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        of_items = (difference(a, b, f'{path}[{i}]') for i, (a, b) in enumerate(zip(ours, theirs)))
        return next((first for first in of_items if first), None)
    return None if ours == theirs else f'{path} is {ours!r}, expected {theirs!r}'


# ------------------------------------------------------------------------------------------------ models


@functools.lru_cache(maxsize=512)  # most families have the backbone of the one before
def weight_called(name: str, shape: tuple[int, ...]) -> Tensor:
    """Normal noise seeded by the name: two models with the same names hold the same weights."""
    noise = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    if name.endswith('running_var'):
        value = 1 + 0.1 * np.abs(noise)
    elif len(shape) >= 2:
        value = noise * np.float32(np.sqrt(1.0 / int(np.prod(shape[1:]))))
    elif name.endswith(('weight', 'scale', 'gamma')):
        value = 1 + 0.1 * noise
    else:
        value = 0.1 * noise
    return torch.from_numpy(np.asarray(value, dtype=np.float32).reshape(shape))


@torch.no_grad()
def fill(model: nn.Module) -> None:
    """Recorded weights for every parameter and running statistic; nothing random left."""
    for name, tensor in model.named_parameters():
        tensor.copy_(weight_called(name, tuple(tensor.shape)))
    for name, tensor in model.named_buffers():
        if name.endswith(('running_mean', 'running_var')):
            tensor.copy_(weight_called(name, tuple(tensor.shape)))
    for module in model.modules():
        if type(module).__name__.startswith('Dropout') and hasattr(module, 'p'):
            module.p = 0.0
        if type(module).__name__ == 'DropPath':
            module.drop_prob = 0.0
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0


def smooth_images(height: int, width: int) -> Tensor:
    """Two images. (2, 3, height, width)"""
    images = []
    for seed in (100, 101):
        rng = np.random.RandomState(seed)
        coarse = torch.from_numpy(rng.standard_normal((1, 3, 16, 24)).astype(np.float32))
        fine = torch.from_numpy(rng.standard_normal((1, 3, height, width)).astype(np.float32))
        images.append(nn.functional.interpolate(coarse, (height, width), mode='bilinear') + 0.1 * fine)
    return torch.cat(images)


def ground_truth(index: int, num_classes: int, height: int, width: int) -> Instances:
    """Three or five boxes with elliptic masks."""
    rng = np.random.RandomState(200 + index)
    num = 3 + 2 * index
    corner = np.stack([rng.uniform(0, width * 0.6, num), rng.uniform(0, height * 0.6, num)], 1)
    extent = np.stack([rng.uniform(16, width * 0.38, num), rng.uniform(16, height * 0.38, num)], 1)
    boxes = np.concatenate([corner, corner + extent], 1).astype(np.float32)
    labels = rng.randint(0, num_classes, num).astype(np.int64)
    y, x = np.mgrid[:height, :width]
    masks = []
    for x1, y1, x2, y2 in boxes:
        inside = ((x - (x1 + x2) / 2) / ((x2 - x1) / 2)) ** 2 + ((y - (y1 + y2) / 2) / ((y2 - y1) / 2)) ** 2 <= 1
        masks.append(inside.astype(np.uint8))
    return Instances(
        bboxes=torch.from_numpy(boxes),
        labels=torch.from_numpy(labels),
        masks=BitmapMasks(np.stack(masks), height, width),
    )


def image_meta(index: int, height: int, width: int) -> ImageMeta:
    """The first image is a little smaller than the batch; both were enlarged by two."""
    img_shape = (height - 6, width - 14) if index == 0 else (height, width)
    return ImageMeta(
        filename=f'{index}.jpg',
        ori_filename=f'{index}.jpg',
        img_id=index,
        ori_shape=(img_shape[0] // 2, img_shape[1] // 2),
        img_shape=img_shape,
        pad_shape=(height, width),
        scale_factor=np.full(4, 2.0, dtype=np.float32),
        img_norm_cfg=dict(mean=np.zeros(3, np.float32), std=np.ones(3, np.float32), to_rgb=True),
    )


def training_batch(record: Any) -> Batch:
    height, width = (int(value) for value in record['size'])
    gts = [ground_truth(index, int(record['num_classes']), height, width) for index in (0, 1)]
    batch = Batch(
        imgs=smooth_images(height, width),
        metas=[image_meta(index, height, width) for index in (0, 1)],
        gts=gts,
        ignored=[torch.zeros(0, 4) for _ in gts],
    )
    needs = str(record['needs']).split()
    if 'proposals' in needs:
        batch.proposals = [Instances(bboxes=gt.bboxes + 3, scores=torch.ones(len(gt))) for gt in gts]
    if 'semantic' in needs:
        low, high = (int(value) for value in record['semantic'])
        maps = np.random.RandomState(7).randint(low, high, (2, 1, height // 8, width // 8))
        batch.gt_semantic_seg = torch.from_numpy(maps).long()
    return batch


def test_batch(record: Any) -> Batch:
    height, width = (int(value) for value in record['size'])
    return Batch(imgs=smooth_images(height, width)[:1], metas=[image_meta(0, height, width)])


test_batch.__test__ = False  # type: ignore[attr-defined]


def flatten(outputs: Any) -> list[Tensor]:
    """All tensors of nested lists, tuples and dicts."""
    if isinstance(outputs, Tensor):
        return [outputs]
    if isinstance(outputs, dict):
        outputs = [outputs[key] for key in sorted(outputs)]
    return [tensor for part in outputs for tensor in flatten(part)] if isinstance(outputs, (list, tuple)) else []


def samples_of(tensor: Tensor) -> np.ndarray:
    """64 values at even distances."""
    values = tensor.detach().float().reshape(-1)
    index = np.linspace(0, values.numel() - 1, min(64, values.numel())).astype(np.int64)
    return values[index.tolist()].numpy().astype(np.float64)


def as_rows(detections: Instances) -> np.ndarray:
    """(N, 6): x1 y1 x2 y2 score label."""
    assert detections.scores is not None and detections.labels is not None
    columns = [detections.bboxes, detections.scores[:, None], detections.labels[:, None].float()]
    return torch.cat(columns, 1).double().numpy()


def share_without_twin(first: np.ndarray, second: np.ndarray) -> float:
    """Share of detections to which `second` has none of the same label, IoU > 0.98 and score within 0.002."""
    if not len(first):
        return 0.0
    return sum(not _has_twin(row, second) for row in first) / len(first)


def _has_twin(row: np.ndarray, others: np.ndarray) -> bool:
    near = others[(others[:, 5] == row[5]) & (np.abs(others[:, 4] - row[4]) < 2e-3)]
    if not len(near):
        return False
    if min(row[2] - row[0], row[3] - row[1]) < 1e-3:  # no area, no IoU
        return bool(np.abs(near[:, :4] - row[:4]).max(1).min() < 0.05)
    top_left, bottom_right = np.maximum(row[:2], near[:, :2]), np.minimum(row[2:4], near[:, 2:4])
    inter = np.clip(bottom_right - top_left, 0, None).prod(1)
    areas = (near[:, 2:4] - near[:, :2]).prod(1) + (row[2:4] - row[:2]).prod() - inter
    return bool((inter / np.maximum(areas, 1e-6)).max() > 0.98)
