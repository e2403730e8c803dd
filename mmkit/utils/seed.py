"""Random numbers that repeat."""

from __future__ import annotations

import random
import secrets

import numpy as np
import torch

from mmkit.utils.dist import broadcast_object


def init_seed(seed: int | None = None) -> int:
    """The seed of this training: the given one, or one drawn by the first process for all of them."""
    if seed is not None and (not isinstance(seed, int) or seed < 0):
        raise ValueError(f'seed is {seed!r}, expected a whole number of at least 0')
    return int(broadcast_object(secrets.randbelow(2**31) if seed is None else seed))


def set_random_seed(seed: int, deterministic: bool = False) -> None:
    """Seed Python, numpy and torch (CPU and GPUs).

    Args:
        seed: at least 0.
        deterministic: choose cuDNN algorithms that give the same numbers at every run, at some cost in speed.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    if deterministic:
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
