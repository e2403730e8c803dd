"""Ranks of numbers within groups."""

from __future__ import annotations

import torch
from torch import Tensor


def ranks_in_groups(values: Tensor, groups: Tensor) -> Tensor:
    """(N,) int64 rank of each value among those of its group, 0 for the greatest; of equal ones the earlier is first.

    Args:
        values: (N,).
        groups: (N,) int64, a number of the group of each.
    """
    order = values.argsort(descending=True, stable=True)
    order = order[groups[order].argsort(stable=True)]  # group by group, the greatest of each first
    ordered = groups[order]
    ranks = torch.arange(len(values), device=values.device) - torch.searchsorted(ordered, ordered)
    return torch.empty_like(ranks).scatter(0, order, ranks)
