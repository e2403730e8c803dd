"""Points on every cell, for anchor-free heads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmkit.bbox.priors.grid import Device, cell_grid, check_levels, pairs_of, valid_cells
from mmkit.registry import PRIOR_GENERATORS


@PRIOR_GENERATORS.register_module()
class MlvlPointGenerator:
    """One point in every cell of several feature maps (arXiv:1904.01355).

    Args:
        strides: pixels from cell to cell, an int or (w, h) for each level.
        offset: 0 .. 1, where in its cell the point lies; 0.5 is the middle.
    """

    def __init__(self, strides: Sequence[int | Sequence[int]], offset: float = 0.5) -> None:
        self.strides = pairs_of(strides)
        self.offset = offset

    @property
    def num_levels(self) -> int:
        return len(self.strides)

    @property
    def num_base_priors(self) -> list[int]:
        return [1] * self.num_levels

    def grid_priors(
        self,
        featmap_sizes: Sequence[Sequence[int]],
        dtype: torch.dtype = torch.float32,
        device: Device = 'cpu',
        with_stride: bool = False,
    ) -> list[Tensor]:
        """Points of feature maps of sizes (h, w), row after row.

        Returns:
            (h * w, 2) x, y for each level; with `with_stride` (h * w, 4) x, y, stride_w, stride_h.

        Raises:
            ValueError: if there is not one feature map for each stride.
        """
        check_levels(featmap_sizes, self.num_levels)
        return [
            self.single_level_grid_priors(size, i, dtype, device, with_stride) for i, size in enumerate(featmap_sizes)
        ]

    def single_level_grid_priors(
        self,
        featmap_size: Sequence[int],
        level_idx: int,
        dtype: torch.dtype = torch.float32,
        device: Device = 'cpu',
        with_stride: bool = False,
    ) -> Tensor:
        stride = torch.tensor(self.strides[level_idx], dtype=dtype, device=device)  # (2,)
        points = (torch.stack(cell_grid(featmap_size, device), dim=-1).to(dtype) + self.offset) * stride
        return torch.cat([points, stride.expand_as(points)], dim=-1) if with_stride else points

    def valid_flags(
        self, featmap_sizes: Sequence[Sequence[int]], pad_shape: Sequence[int], device: Device = 'cpu'
    ) -> list[Tensor]:
        """(h * w,) bool of each level: points on an image padded to `pad_shape` (height, width)."""
        return valid_cells(featmap_sizes, pad_shape, self.strides, self.num_base_priors, device)


@PRIOR_GENERATORS.register_module()
class PointGenerator:
    """The upper left corner of every cell of one feature map, with the stride as third column."""

    def grid_points(self, featmap_size: Sequence[int], stride: int = 16, device: Device = 'cpu') -> Tensor:
        """(h * w, 3) x, y, stride of a map of (h, w)."""
        columns, rows = cell_grid(featmap_size, device)
        return torch.stack([columns * stride, rows * stride, torch.full_like(rows, stride)], dim=-1).float()

    def valid_flags(self, featmap_size: Sequence[int], valid_size: Sequence[int], device: Device = 'cpu') -> Tensor:
        """(h * w,) bool: the points within the first `valid_size` (h, w) rows and columns of cells."""
        columns, rows = cell_grid(featmap_size, device)
        return (columns < valid_size[1]) & (rows < valid_size[0])
