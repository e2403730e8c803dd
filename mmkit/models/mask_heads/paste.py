"""Masks of regions and of the whole input, brought into the image."""

from __future__ import annotations

import math

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor
from torch.nn import functional

from mmkit.structures import EncodedMasks, ImageMeta


def paste_masks(probs: Tensor, bboxes: Tensor, height: int, width: int, threshold: float = 0.5) -> EncodedMasks:
    """Stretch each region's mask over its box and cut it at `threshold`.

    It works on one object at a time and within its box only, so that memory doesn't grow with their number.

    Args:
        probs: (N, h, w) probabilities in 0..1.
        bboxes: (N, 4) xyxy in pixels of an image of `height` x `width`.
        threshold: probability from which a pixel belongs to the mask.
    """
    rles = []
    bboxes = bboxes.float()
    # All corners are read at once: reading each number would make the GPU wait.
    for prob, bbox, (left, top, right, bottom) in zip(probs.float(), bboxes, bboxes.tolist(), strict=True):
        canvas = torch.zeros(height, width, dtype=torch.uint8)
        # One pixel of margin: sampling reaches beyond the box.
        x0, y0 = max(math.floor(left) - 1, 0), max(math.floor(top) - 1, 0)
        x1, y1 = min(math.ceil(right) + 1, width), min(math.ceil(bottom) + 1, height)
        if x1 > x0 and y1 > y0:
            canvas[y0:y1, x0:x1] = (_stretch(prob, bbox, x0, y0, x1, y1) >= threshold).cpu()
        rle = coco_mask.encode(canvas.numpy().T.copy().T)  # Fortran order
        rles.append(dict(size=rle['size'], counts=rle['counts'].decode('ascii')))
    return EncodedMasks(rles, height, width)


def resize_masks(
    logits: Tensor, stride: int, meta: ImageMeta, threshold: float = 0.5, rescale: bool = True
) -> EncodedMasks:
    """Stretch masks of the network's whole input over the image and cut them at `threshold`.

    It works on one object at a time, so that memory doesn't grow with their number.

    Args:
        logits: (N, h, w).
        stride: pixels of the input from cell to cell.
        threshold: a pixel whose probability is above it belongs to the mask.
        rescale: over the original image, else over the input without its padding.
    """
    height, width = (meta.ori_shape if rescale else meta.img_shape)[:2]
    size = [edge * stride for edge in logits.shape[-2:]]
    scale_w, scale_h = meta.scale_factor.tolist()[:2]
    original = [max(math.ceil(size[0] / scale_h), height), max(math.ceil(size[1] / scale_w), width)]
    bitmaps = np.zeros((len(logits), height, width), dtype=bool)
    for bitmap, mask in zip(bitmaps, logits):
        mask = functional.interpolate(mask[None, None], size=size, mode='bilinear')
        if rescale:
            mask = functional.interpolate(mask, size=original, mode='bilinear')
        bitmap[:] = (mask[0, 0, :height, :width].sigmoid() > threshold).cpu().numpy()
    return EncodedMasks.from_bitmaps(bitmaps)


def _stretch(prob: Tensor, bbox: Tensor, x0: int, y0: int, x1: int, y1: int) -> Tensor:
    """(h, w) `prob` over `bbox`, read at the centres of the pixels x0..x1, y0..y1: (y1 - y0, x1 - x0)."""
    span = bbox[2:] - bbox[:2]
    xs = (torch.arange(x0, x1, device=prob.device) + 0.5 - bbox[0]) / span[0] * 2 - 1
    ys = (torch.arange(y0, y1, device=prob.device) + 0.5 - bbox[1]) / span[1] * 2 - 1
    # a box without width or height reads the middle of its mask
    xs, ys = (torch.where(each.isfinite(), each, torch.zeros_like(each)) for each in (xs, ys))
    grid = torch.stack(torch.meshgrid(xs, ys, indexing='xy'), dim=-1)[None]
    return functional.grid_sample(prob[None, None], grid, align_corners=False)[0, 0]
