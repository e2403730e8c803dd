"""Relations between a pixel and its neighbours (BoxInst, arXiv:2012.02310)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def neighbours(feats: Tensor, kernel_size: int, dilation: int) -> Tensor:
    """Values around every pixel, 0 beyond the border: (B, C, h, w) -> (B, C, kernel_size ** 2 - 1, h, w).

    Args:
        kernel_size: an odd number; the pixel in the middle is left out.
        dilation: steps between neighbours, in pixels.
    """
    around = functional.unfold(feats, kernel_size, dilation=dilation, padding=dilation * (kernel_size // 2))
    around = around.reshape(*feats.shape[:2], kernel_size**2, *feats.shape[2:])
    middle = kernel_size**2 // 2
    return torch.cat([around[:, :, :middle], around[:, :, middle + 1 :]], dim=2)


def disagreement(logits: Tensor, kernel_size: int, dilation: int) -> Tensor:
    """-log of the probability that a pixel and its neighbour are both foreground or both background.

    Args:
        logits: (K, h, w) of K masks.

    Returns:
        (K, kernel_size ** 2 - 1, h, w).
    """
    same = []
    for sign in (1, -1):
        log_prob = functional.logsigmoid(sign * logits)[:, None]  # (K, 1, h, w)
        same.append((log_prob[:, :, None] + neighbours(log_prob, kernel_size, dilation)).squeeze(1))
    return -torch.logaddexp(same[0], same[1])
