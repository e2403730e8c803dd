"""Anchors of several scales and aspect ratios on every cell."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmkit.bbox.priors.grid import Device, cell_grid, check_levels, pairs_of, valid_cells
from mmkit.errors import InvalidValueError
from mmkit.registry import PRIOR_GENERATORS


@PRIOR_GENERATORS.register_module()
class AnchorGenerator:
    """Anchors as boxes of `base_size * scale` with the given ratios (arXiv:1506.01497).

    Args:
        strides: pixels from cell to cell, an int or (w, h) for each level.
        ratios: height / width of the anchors.
        scales: anchor size in units of the base size. Either this, or the two octave arguments.
        base_sizes: size at scale 1 for each level; None: the smaller stride.
        scale_major: whether the scale varies fastest within a cell (True), or the ratio.
        octave_base_scale: the smallest scale, from which `scales_per_octave` go up by 2 ** (i / scales_per_octave).
        scales_per_octave: see `octave_base_scale`.
        centers: (x, y) of the anchors of the first cell for each level; None: `center_offset` base sizes.
        center_offset: 0 .. 1, where in its cell the anchor is centred; 0 is the corner.

    Attributes:
        base_anchors: (A_l, 4) of each level, those of the first cell.
    """

    def __init__(
        self,
        strides: Sequence[int | Sequence[int]],
        ratios: Sequence[float],
        scales: Sequence[float] | None = None,
        base_sizes: Sequence[float] | None = None,
        scale_major: bool = True,
        octave_base_scale: float | None = None,
        scales_per_octave: int | None = None,
        centers: Sequence[Sequence[float]] | None = None,
        center_offset: float = 0.0,
    ) -> None:
        self.strides = pairs_of(strides)
        self.base_sizes = list(base_sizes) if base_sizes is not None else [min(stride) for stride in self.strides]
        if len(self.base_sizes) != self.num_levels:
            raise InvalidValueError(
                f'{len(self.base_sizes)} base_sizes for {self.num_levels} strides', key='base_sizes'
            )
        if not 0 <= center_offset <= 1:
            raise InvalidValueError(f'center_offset must be within 0 .. 1, got {center_offset}', key='center_offset')
        if centers is not None and (center_offset != 0 or len(centers) != self.num_levels):
            raise InvalidValueError(
                f'centers must be one (x, y) for each of {self.num_levels} levels, without center_offset', key='centers'
            )
        self.scale_major = scale_major
        self.center_offset = center_offset
        self.centers = centers
        self.scales = _scales(scales, octave_base_scale, scales_per_octave)
        self.ratios = torch.tensor(list(ratios), dtype=torch.float32)
        self.base_anchors = self.gen_base_anchors()

    @property
    def num_levels(self) -> int:
        return len(self.strides)

    @property
    def num_base_priors(self) -> list[int]:
        """Number of anchors of one cell, for each level."""
        return [len(anchors) for anchors in self.base_anchors]

    def gen_base_anchors(self) -> list[Tensor]:
        """The anchors of the first cell, (A, 4) for each level."""
        centers = self.centers if self.centers is not None else [None] * self.num_levels
        return [
            self.cell_anchors(base_size, self.scales, self.ratios, center)
            for base_size, center in zip(self.base_sizes, centers, strict=True)
        ]

    def cell_anchors(
        self, base_size: float, scales: Tensor, ratios: Tensor, center: Sequence[float] | None = None
    ) -> Tensor:
        """(A, 4) anchors of every scale and ratio around `center`."""
        widths, heights = self.cell_sizes(base_size, scales, ratios)
        x, y = center if center is not None else (self.center_offset * base_size,) * 2
        return torch.stack([x - widths / 2, y - heights / 2, x + widths / 2, y + heights / 2], dim=-1)

    def cell_sizes(self, base_size: float, scales: Tensor, ratios: Tensor) -> tuple[Tensor, Tensor]:
        """Widths and heights (A,) of all combinations."""
        h_ratios = ratios.sqrt()
        w_ratios = 1 / h_ratios
        if self.scale_major:
            widths = base_size * w_ratios[:, None] * scales[None, :]
            heights = base_size * h_ratios[:, None] * scales[None, :]
        else:
            widths = base_size * scales[:, None] * w_ratios[None, :]
            heights = base_size * scales[:, None] * h_ratios[None, :]
        return widths.reshape(-1), heights.reshape(-1)

    def grid_priors(
        self,
        featmap_sizes: Sequence[Sequence[int]],
        dtype: torch.dtype = torch.float32,
        device: Device = 'cpu',
    ) -> list[Tensor]:
        """(h * w * A, 4) anchors of each of the feature maps of sizes (h, w); A varies fastest, then the column.

        Raises:
            ValueError: if there is not one feature map for each stride.
        """
        check_levels(featmap_sizes, self.num_levels)
        return [self.single_level_grid_priors(size, i, dtype, device) for i, size in enumerate(featmap_sizes)]

    def single_level_grid_priors(
        self,
        featmap_size: Sequence[int],
        level_idx: int,
        dtype: torch.dtype = torch.float32,
        device: Device = 'cpu',
    ) -> Tensor:
        """(h * w * A, 4) anchors of one level."""
        base_anchors = self.base_anchors[level_idx].to(device=device, dtype=dtype)
        stride_w, stride_h = self.strides[level_idx]
        columns, rows = cell_grid(featmap_size, device)
        x, y = columns * stride_w, rows * stride_h
        shifts = torch.stack([x, y, x, y], dim=-1).to(dtype)  # (h * w, 4)
        return (shifts[:, None] + base_anchors[None]).view(-1, 4)

    def valid_flags(
        self, featmap_sizes: Sequence[Sequence[int]], pad_shape: Sequence[int], device: Device = 'cpu'
    ) -> list[Tensor]:
        """(h * w * A,) bool of each level: anchors on an image padded to `pad_shape` (height, width)."""
        return valid_cells(featmap_sizes, pad_shape, self.strides, self.num_base_priors, device)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(strides={self.strides}, ratios={self.ratios.tolist()}, '
            f'scales={self.scales.tolist()}, base_sizes={self.base_sizes})'
        )


@PRIOR_GENERATORS.register_module()
class LegacyAnchorGenerator(AnchorGenerator):
    """Anchors as before mmdetection 2.0: a box of width w covers pixels 0 .. w - 1, and sides are whole pixels.

    Arguments are those of `AnchorGenerator`.
    """

    def cell_anchors(
        self, base_size: float, scales: Tensor, ratios: Tensor, center: Sequence[float] | None = None
    ) -> Tensor:
        widths, heights = self.cell_sizes(base_size, scales, ratios)
        x, y = center if center is not None else (self.center_offset * (base_size - 1),) * 2
        half_w, half_h = 0.5 * (widths - 1), 0.5 * (heights - 1)
        return torch.stack([x - half_w, y - half_h, x + half_w, y + half_h], dim=-1).round()


def _scales(scales: Sequence[float] | None, octave_base_scale: float | None, scales_per_octave: int | None) -> Tensor:
    octave = octave_base_scale is not None and scales_per_octave is not None
    if (scales is not None) == octave:
        raise InvalidValueError(
            'give either scales, or octave_base_scale and scales_per_octave; got '
            f'scales={scales}, octave_base_scale={octave_base_scale}, scales_per_octave={scales_per_octave}',
            key='scales',
        )
    if scales is not None:
        return torch.tensor(list(scales), dtype=torch.float32)
    assert octave_base_scale is not None and scales_per_octave is not None
    steps = [2 ** (i / scales_per_octave) * octave_base_scale for i in range(scales_per_octave)]
    return torch.tensor(steps, dtype=torch.float32)
