"""Anchors whose sizes are listed or follow from the input size: SSD and YOLO."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mmkit.bbox.priors.anchors import AnchorGenerator, LegacyAnchorGenerator
from mmkit.bbox.priors.grid import Device, check_levels, pairs_of
from mmkit.errors import InvalidValueError
from mmkit.registry import PRIOR_GENERATORS

# Sizes of the first level in percent of the input, by (input size, lower end of the ratio range): the authors' choice.
_FIRST_LEVEL = {(300, 0.15): (7, 15), (300, 0.2): (10, 20), (512, 0.1): (4, 10), (512, 0.15): (7, 15)}


@PRIOR_GENERATORS.register_module()
class SSDAnchorGenerator(AnchorGenerator):
    """Default boxes of SSD (arXiv:1512.02325): two squares and the given ratios, both ways, on every cell.

    Args:
        strides: pixels from cell to cell, an int or (w, h) for each level.
        ratios: aspect ratios > 1 for each level; each stands for itself and its inverse.
        min_sizes: side of the small square of each level. With `max_sizes`, or from `basesize_ratio_range`.
        max_sizes: the large square has side sqrt(min_size * max_size).
        basesize_ratio_range: smallest and largest size as fraction of `input_size`; needs `input_size` 300 or 512.
        input_size: of the network, in pixels.
        scale_major: see `AnchorGenerator`; SSD's published models have False.
    """

    def __init__(
        self,
        strides: Sequence[int | Sequence[int]],
        ratios: Sequence[Sequence[float]],
        min_sizes: Sequence[float] | None = None,
        max_sizes: Sequence[float] | None = None,
        basesize_ratio_range: Sequence[float] = (0.15, 0.9),
        input_size: int = 300,
        scale_major: bool = True,
    ) -> None:
        if (min_sizes is None) != (max_sizes is None):
            raise InvalidValueError('min_sizes and max_sizes go together: give both or none', key='min_sizes')
        self.strides = pairs_of(strides)
        if min_sizes is None or max_sizes is None:
            min_sizes, max_sizes = _ssd_sizes(basesize_ratio_range, input_size, self.num_levels)
        if not len(min_sizes) == len(max_sizes) == len(ratios) == self.num_levels:
            raise InvalidValueError(
                f'{self.num_levels} strides, but {len(ratios)} ratios, '
                f'{len(min_sizes)} min_sizes and {len(max_sizes)} max_sizes',
                key='strides',
            )
        self.input_size = input_size
        self.basesize_ratio_range = tuple(basesize_ratio_range)
        self.base_sizes = list(min_sizes)
        self.scale_major = scale_major
        self.center_offset = 0.0
        self.centers = self._centers()
        self.level_scales = [
            torch.tensor([1.0, math.sqrt(high / low)]) for low, high in zip(min_sizes, max_sizes, strict=True)
        ]
        self.level_ratios = [torch.tensor([1.0, *(x for r in level for x in (1 / r, r))]) for level in ratios]
        self.base_anchors = self.gen_base_anchors()

    def _centers(self) -> list[tuple[float, float]]:
        return [(stride_w / 2, stride_h / 2) for stride_w, stride_h in self.strides]

    def gen_base_anchors(self) -> list[Tensor]:
        """Small square, large square, then the ratios of the small one."""
        base_anchors = []
        levels = zip(self.base_sizes, self.level_scales, self.level_ratios, self._centers(), strict=True)
        for base_size, scales, ratios, center in levels:
            anchors = self.cell_anchors(base_size, scales, ratios, center)
            base_anchors.append(anchors[[0, len(ratios), *range(1, len(ratios))]])
        return base_anchors

    def __repr__(self) -> str:
        return f'{type(self).__name__}(strides={self.strides}, base_sizes={self.base_sizes})'


@PRIOR_GENERATORS.register_module()
class LegacySSDAnchorGenerator(SSDAnchorGenerator):
    """SSD's boxes as before mmdetection 2.0: whole pixels, centred at (stride - 1) / 2.

    Arguments are those of `SSDAnchorGenerator`, without the sizes.
    """

    def __init__(
        self,
        strides: Sequence[int | Sequence[int]],
        ratios: Sequence[Sequence[float]],
        basesize_ratio_range: Sequence[float],
        input_size: int = 300,
        scale_major: bool = True,
    ) -> None:
        super().__init__(
            strides=strides,
            ratios=ratios,
            basesize_ratio_range=basesize_ratio_range,
            input_size=input_size,
            scale_major=scale_major,
        )

    def _centers(self) -> list[tuple[float, float]]:
        return [((stride_w - 1) / 2, (stride_h - 1) / 2) for stride_w, stride_h in self.strides]

    cell_anchors = LegacyAnchorGenerator.cell_anchors


@PRIOR_GENERATORS.register_module()
class YOLOAnchorGenerator(AnchorGenerator):
    """Anchors of listed sizes in the middle of every cell (arXiv:1804.02767).

    Args:
        strides: pixels from cell to cell, an int or (w, h) for each level.
        base_sizes: a list of (w, h) for each level.
    """

    def __init__(self, strides: Sequence[int | Sequence[int]], base_sizes: Sequence[Sequence[Sequence[float]]]) -> None:
        self.strides = pairs_of(strides)
        if len(base_sizes) != self.num_levels:
            raise InvalidValueError(
                f'{len(base_sizes)} lists of base_sizes for {self.num_levels} strides', key='base_sizes'
            )
        self.level_sizes = [[tuple(size) for size in sizes] for sizes in base_sizes]
        self.base_anchors = self.gen_base_anchors()

    def gen_base_anchors(self) -> list[Tensor]:
        base_anchors = []
        for (stride_w, stride_h), sizes in zip(self.strides, self.level_sizes, strict=True):
            center = torch.tensor([stride_w / 2, stride_h / 2])
            half = torch.tensor(sizes, dtype=torch.float32) / 2  # (A, 2)
            base_anchors.append(torch.cat([center - half, center + half], dim=1))
        return base_anchors

    def responsible_flags(
        self, featmap_sizes: Sequence[Sequence[int]], gt_bboxes: Tensor, device: Device = 'cpu'
    ) -> list[Tensor]:
        """(h * w * A,) bool of each level: anchors of cells that contain the centre of a ground truth (K, 4)."""
        check_levels(featmap_sizes, self.num_levels)
        centers = (gt_bboxes[:, :2] + gt_bboxes[:, 2:]).to(device) * 0.5  # (K, 2)
        flags = []
        for (height, width), stride, num_base in zip(featmap_sizes, self.strides, self.num_base_priors, strict=True):
            cells = (centers / torch.tensor(stride, device=device)).floor().long()  # (K, 2)
            # A centre on the right or lower border belongs to the last cell.
            column, row = cells[:, 0].clamp(0, width - 1), cells[:, 1].clamp(0, height - 1)
            responsible = torch.zeros(height * width, dtype=torch.bool, device=device)
            responsible[row * width + column] = True
            flags.append(responsible.repeat_interleave(num_base))
        return flags

    def __repr__(self) -> str:
        return f'{type(self).__name__}(strides={self.strides}, base_sizes={self.level_sizes})'


def _ssd_sizes(ratio_range: Sequence[float], input_size: int, num_levels: int) -> tuple[list[int], list[int]]:
    """Smallest and largest size of each level, evenly spaced in whole percent of the input size."""
    low, high = ratio_range
    if (input_size, low) not in _FIRST_LEVEL:
        known = ', '.join(f'input_size {size} with {start}' for size, start in _FIRST_LEVEL)
        raise InvalidValueError(
            f'basesize_ratio_range starting at {low} with input_size {input_size} has no sizes for the first level '
            f'(known: {known}); give min_sizes and max_sizes',
            key='basesize_ratio_range',
        )
    first, last = int(low * 100), int(high * 100)
    step = int((last - first) / (num_levels - 2))
    percents = [_FIRST_LEVEL[input_size, low]] + [(p, p + step) for p in range(first, last + 1, step)]
    mins, maxs = zip(*percents, strict=True)
    return [input_size * percent // 100 for percent in mins], [input_size * percent // 100 for percent in maxs]
