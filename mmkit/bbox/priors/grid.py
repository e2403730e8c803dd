"""Functions shared by prior generators: grids of cells on feature maps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mmkit.errors import InvalidValueError

Device = torch.device | str


def pairs_of(strides: Sequence[int | Sequence[int]]) -> list[tuple[int, int]]:
    """(w, h) of each level, from ints or from pairs."""
    return [(v[0], v[1]) if isinstance(v, Sequence) else (v, v) for v in strides]


def cell_grid(featmap_size: Sequence[int], device: Device) -> tuple[Tensor, Tensor]:
    """Column and row of each cell of a map of (h, w), row after row: two (h * w,) int64 tensors."""
    rows, columns = torch.meshgrid(
        torch.arange(featmap_size[0], device=device), torch.arange(featmap_size[1], device=device), indexing='ij'
    )
    return columns.reshape(-1), rows.reshape(-1)


def check_levels(featmap_sizes: Sequence[Sequence[int]], num_levels: int) -> None:
    if len(featmap_sizes) != num_levels:
        raise InvalidValueError(
            f'{len(featmap_sizes)} feature maps for a prior generator with {num_levels} strides', key='strides'
        )


def valid_cells(
    featmap_sizes: Sequence[Sequence[int]],
    pad_shape: Sequence[int],
    strides: Sequence[tuple[int, int]],
    num_base_priors: Sequence[int],
    device: Device,
) -> list[Tensor]:
    """Mask of the priors on the padded image; the batch may be larger than one of its images.

    Args:
        featmap_sizes: (h, w) of each level.
        pad_shape: (height, width) of the padded image.
        strides: (w, h) of each level.
        num_base_priors: priors of one cell, for each level.

    Returns:
        (h * w * A,) bool for each level, in the order of `grid_priors`.
    """
    check_levels(featmap_sizes, len(strides))
    flags = []
    for size, (stride_w, stride_h), num_base in zip(featmap_sizes, strides, num_base_priors, strict=True):
        columns, rows = cell_grid(size, device)
        valid = (columns < math.ceil(pad_shape[1] / stride_w)) & (rows < math.ceil(pad_shape[0] / stride_h))
        flags.append(valid.repeat_interleave(num_base))
    return flags
