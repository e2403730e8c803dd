"""Accuracy of classifications."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import torch
from torch import Tensor

from mmkit.errors import InvalidValueError


@overload
def accuracy(pred: Tensor, target: Tensor, topk: int = 1, thresh: float | None = None) -> Tensor: ...
@overload
def accuracy(pred: Tensor, target: Tensor, topk: Sequence[int], thresh: float | None = None) -> list[Tensor]: ...


@torch.no_grad()
def accuracy(
    pred: Tensor, target: Tensor, topk: int | Sequence[int] = 1, thresh: float | None = None
) -> Tensor | list[Tensor]:
    """Percentage of rows whose class is among the `topk` highest scores; a list if `topk` is one.

    Args:
        pred: (N, C) scores.
        target: (N,) labels.
        topk: at most C.
        thresh: scores must be above this to count.

    Raises:
        ValueError: if `topk` exceeds the number of classes.
    """
    topks = (topk,) if isinstance(topk, int) else tuple(topk)
    if max(topks) > pred.shape[1]:
        raise InvalidValueError(f'topk {max(topks)} of {pred.shape[1]} classes', key='topk')
    scores, labels = pred.topk(max(topks), dim=1)
    hit = labels == target[:, None]  # (N, k)
    if thresh is not None:
        hit &= scores > thresh
    percentages = [hit[:, :k].any(1).float().sum() * (100.0 / max(len(pred), 1)) for k in topks]
    return percentages[0] if isinstance(topk, int) else percentages
