"""Seeds of random numbers."""

from __future__ import annotations

import random
import secrets

import numpy as np
import torch

from mmkit.errors import InvalidValueError
from mmkit.utils.dist import broadcast_object


def init_seed(seed: int | None = None) -> int:
    """The seed of a training: the given one, or one that the first process draws for all of them."""
    if seed is not None and (not isinstance(seed, int) or seed < 0):
        raise InvalidValueError(f'seed is {seed!r}, expected a whole number of at least 0', key='seed')
    return int(broadcast_object(secrets.randbelow(2**31) if seed is None else seed))


def set_random_seed(seed: int, deterministic: bool = False) -> None:
    """Seed Python, numpy and torch (CPU and GPUs).

    Args:
        seed: at least 0.
        deterministic: use cuDNN algorithms with the same result in every run, at some cost in speed.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    if deterministic:
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
