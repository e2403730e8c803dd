"""Deformable convolution."""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor


def deform_conv2d(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    mask: Tensor | None = None,
) -> Tensor:
    """Deformable convolution, modulated when `mask` is given (arXiv:1703.06211, arXiv:1811.11168).

    Args:
        x: (B, C, H, W).
        offset: (B, 2 * deform_groups * kh * kw, out_h, out_w), (y, x) pairs in pixels.
        weight: (out_channels, C / groups, kh, kw).
        bias: (out_channels,) or None.
        stride, padding, dilation: (vertical, horizontal).
        mask: (B, deform_groups * kh * kw, out_h, out_w) in 0..1, or None.

    Returns:
        (B, out_channels, out_h, out_w).
    """
    dtype = torch.float32 if x.dtype is torch.bfloat16 else x.dtype  # torchvision's kernels know no bfloat16
    out: Tensor = torchvision.ops.deform_conv2d(
        x.to(dtype),
        offset.to(dtype),
        weight.to(dtype),
        bias=None if bias is None else bias.to(dtype),
        stride=stride,
        padding=padding,
        dilation=dilation,
        mask=None if mask is None else mask.to(dtype),
    )
    return out.to(x.dtype)
