"""The state of all random number generators of this process, for checkpoints."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor


class RngState(TypedDict):
    """States of Python's, numpy's and torch's generators, as tensors and plain numbers."""

    python: tuple[Any, ...]
    numpy: tuple[Tensor, int, int, float]
    torch: Tensor
    cuda: Tensor | None


def rng_state() -> RngState:
    """The present state of all generators."""
    _, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        'python': random.getstate(),
        'numpy': (torch.from_numpy(np.asarray(keys).astype(np.int64)), int(position), int(has_gauss), float(cached)),
        'torch': torch.get_rng_state(),
        'cuda': torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None,
    }


def set_rng_state(state: RngState) -> None:
    """Go back to what `rng_state` returned."""
    version, numbers, gauss = state['python']
    random.setstate((version, tuple(numbers), gauss))
    keys, position, has_gauss, cached = state['numpy']
    np.random.set_state(('MT19937', keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state['torch'].cpu())
    if state['cuda'] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())


@contextmanager
def preserved_rng() -> Iterator[None]:
    """Restore the state of all generators at the end of the block."""
    state = rng_state()
    try:
        yield
    finally:
        set_rng_state(state)
