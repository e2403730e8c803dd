"""Flattening of pyramid levels, and small functions that dense heads share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmkit.utils.dist import reduce_mean


def flatten_level(output: Tensor, channels: int) -> Tensor:
    """(B, A*K, H, W) -> (B, H*W*A, K) with K = `channels`, in the order of the priors."""
    return output.permute(0, 2, 3, 1).reshape(output.shape[0], -1, channels)


def flatten_levels(outputs: Sequence[Tensor], channels: int) -> Tensor:
    """(B, A*K, H, W) of each level -> (B, N, K) over all levels with K = `channels`."""
    return torch.cat([flatten_level(output, channels) for output in outputs], dim=1)


def featmap_sizes(outputs: Sequence[Tensor]) -> list[tuple[int, int]]:
    """(height, width) of every level."""
    return [(output.shape[-2], output.shape[-1]) for output in outputs]


def level_numbers(priors: Sequence[Tensor]) -> Tensor:
    """(N,) int64 number of the level of each prior, from those (N_l, ...) of every level."""
    return torch.cat([torch.full((len(level),), i, device=level.device) for i, level in enumerate(priors)])


def probabilities(logits: Tensor, use_sigmoid: bool) -> Tensor:
    """(..., C) probabilities from logits (..., C), or with softmax from (..., C + 1), the background last."""
    return logits.sigmoid() if use_sigmoid else logits.softmax(dim=-1)[..., :-1]


def shared_factor(total: float | Tensor, like: Tensor, least: float = 1.0) -> Tensor:
    """Divisor of a loss: the mean of `total` over the processes, but not less than `least`."""
    return reduce_mean(torch.as_tensor(total, dtype=torch.float32, device=like.device)).clamp(min=least)


def centerness(distances: Tensor) -> Tensor:
    """(P,) centerness of points, 0 .. 1, from their distances (P, 4) to the left, top, right and bottom side.

    See FCOS, arXiv:1904.01355.
    """
    near = torch.minimum(distances[:, :2], distances[:, 2:])
    far = torch.maximum(distances[:, :2], distances[:, 2:])
    return (near / far).prod(dim=1).sqrt()
