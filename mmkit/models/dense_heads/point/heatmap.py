"""Heat maps with a Gaussian at every object, and their peaks (CornerNet, arXiv:1808.01244)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def gaussian_radius(height: float, width: float, min_overlap: float) -> float:
    """The farthest that both corners of a box may move so that it overlaps the old one by `min_overlap` still.

    They move by the radius along both axes: inwards, outwards, or both in one direction; the least of the three counts.
    """
    total, area = height + width, height * width
    shift = (total - math.sqrt(total**2 - 4 * area * (1 - min_overlap) / (1 + min_overlap))) / 2
    inwards = (2 * total - math.sqrt(4 * total**2 - 16 * area * (1 - min_overlap))) / 8
    outwards = math.sqrt(4 * min_overlap**2 * total**2 + 16 * min_overlap * area * (1 - min_overlap))
    return min(shift, inwards, (outwards - 2 * min_overlap * total) / (8 * min_overlap))


def draw_gaussian(heatmap: Tensor, center: tuple[int, int], radius: int) -> None:
    """Raise a map (h, w) in place to a Gaussian of the height 1 around the cell `center` (x, y).

    Args:
        radius: cells farther than this along an axis stay as they are; three standard deviations, with half a cell.
    """
    height, width = heatmap.shape
    sigma = (2 * radius + 1) / 6
    x, y = center
    rows = torch.arange(max(y - radius, 0), min(y + radius + 1, height), device=heatmap.device)
    columns = torch.arange(max(x - radius, 0), min(x + radius + 1, width), device=heatmap.device)
    distance = (rows[:, None] - y) ** 2 + (columns - x) ** 2
    values = (-distance / (2 * sigma**2)).exp()
    values[values < torch.finfo(torch.float32).eps] = 0
    part = heatmap[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    torch.maximum(part, values, out=part)


def local_maxima(heatmap: Tensor, kernel_size: int) -> Tensor:
    """(B, C, h, w) with 0 for cells that are not the greatest of the `kernel_size` x `kernel_size` around them."""
    greatest = functional.max_pool2d(heatmap, kernel_size, stride=1, padding=kernel_size // 2)
    return heatmap * (greatest == heatmap)
