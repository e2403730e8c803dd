"""Overlaps of boxes."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from mmkit.errors import InvalidValueError
from mmkit.protocols import IoUCalculator
from mmkit.registry import IOU_CALCULATORS, Cfg

OverlapMode = Literal['iou', 'iof', 'giou']


def bbox_overlaps(
    bboxes1: Tensor, bboxes2: Tensor, mode: OverlapMode = 'iou', is_aligned: bool = False, eps: float = 1e-6
) -> Tensor:
    """Overlap of boxes, of all pairs or row by row.

    Args:
        bboxes1: (..., M, 4) xyxy.
        bboxes2: (..., N, 4) xyxy; N must be M if `is_aligned`.
        mode: 'iou' intersection over union, 'iof' intersection over the area of `bboxes1`, 'giou' generalised IoU
            (arXiv:1902.09630).
        is_aligned: compare row i with row i only.
        eps: areas are at least this, so that empty boxes overlap by 0.

    Returns:
        (..., M, N), or (..., M) if `is_aligned`.

    Raises:
        ValueError: for an unknown mode, boxes that are not (..., 4), or unequal numbers of aligned boxes.
    """
    if mode not in ('iou', 'iof', 'giou'):
        raise InvalidValueError(f"mode must be 'iou', 'iof' or 'giou', got {mode!r}", key='mode')
    if bboxes1.shape[-1] != 4 or bboxes2.shape[-1] != 4:
        raise ValueError(f'boxes must be (..., 4), got {tuple(bboxes1.shape)} and {tuple(bboxes2.shape)}')
    if is_aligned and bboxes1.shape[-2] != bboxes2.shape[-2]:
        raise ValueError(f'{bboxes1.shape[-2]} boxes cannot be aligned with {bboxes2.shape[-2]}')
    if not is_aligned:
        bboxes1, bboxes2 = bboxes1.unsqueeze(-2), bboxes2.unsqueeze(-3)  # (..., M, 1, 4), (..., 1, N, 4)

    top_left = torch.maximum(bboxes1[..., :2], bboxes2[..., :2])
    bottom_right = torch.minimum(bboxes1[..., 2:], bboxes2[..., 2:])
    overlap = _product(_finite((bottom_right - top_left).clamp(min=0)))
    area1 = _product(_finite(bboxes1[..., 2:] - bboxes1[..., :2]))
    if mode == 'iof':
        return overlap / _at_least(area1.expand_as(overlap), eps)
    area2 = _product(_finite(bboxes2[..., 2:] - bboxes2[..., :2]))
    union = _at_least(_finite(area1 + area2 - overlap), eps)
    ious = overlap / union
    if mode == 'iou':
        return ious
    hull = torch.maximum(bboxes1[..., 2:], bboxes2[..., 2:]) - torch.minimum(bboxes1[..., :2], bboxes2[..., :2])
    hull_area = _at_least(_product(_finite(hull.clamp(min=0))), eps)
    return ious - (hull_area - union) / hull_area


def _product(wh: Tensor) -> Tensor:
    return _finite(wh[..., 0] * wh[..., 1])


def _finite(values: Tensor) -> Tensor:
    """Values within the range of half precision, which ends at 65504, the area of a 256 x 256 box."""
    if values.dtype != torch.float16:
        return values
    limits = torch.finfo(torch.float16)
    return values.clamp(limits.min, limits.max)


def _at_least(values: Tensor, eps: float) -> Tensor:
    return torch.max(values, values.new_tensor([eps]))


@IOU_CALCULATORS.register_module()
class BboxOverlaps2D:
    """`bbox_overlaps` as an object of a config.

    Args:
        scale: boxes are divided by this before a computation in half precision.
        dtype: None, or 'fp16' to compute in half precision, which saves memory.
    """

    def __init__(self, scale: float = 1.0, dtype: str | None = None) -> None:
        if dtype not in (None, 'fp16'):
            raise InvalidValueError(f"dtype of BboxOverlaps2D must be None or 'fp16', got {dtype!r}", key='dtype')
        self.scale = scale
        self.dtype = dtype

    def __call__(self, bboxes1: Tensor, bboxes2: Tensor, mode: OverlapMode = 'iou', is_aligned: bool = False) -> Tensor:
        """Boxes may carry a fifth column, the score, which is ignored."""
        bboxes1, bboxes2 = bboxes1[..., :4], bboxes2[..., :4]
        if self.dtype is None:
            return bbox_overlaps(bboxes1, bboxes2, mode, is_aligned)
        overlaps = bbox_overlaps((bboxes1 / self.scale).half(), (bboxes2 / self.scale).half(), mode, is_aligned)
        return overlaps if overlaps.is_cuda else overlaps.float()


def build_iou_calculator(cfg: Cfg | IoUCalculator | None) -> IoUCalculator:
    """From a config, an object, or None for the usual `BboxOverlaps2D`."""
    return BboxOverlaps2D() if cfg is None else IOU_CALCULATORS.build(cfg)
