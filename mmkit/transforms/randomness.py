"""Random numbers of transforms: all of a sample come from its own generator."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


def rng_of(sample: dict[str, Any]) -> np.random.Generator:
    """The generator of a sample, from which transforms draw; it is made at the first call if there is none."""
    if 'rng' not in sample:
        sample['rng'] = np.random.default_rng()
    rng: np.random.Generator = sample['rng']
    return rng


@contextmanager
def seeded_globals(rng: np.random.Generator) -> Iterator[None]:
    """Make `random` and `np.random` follow `rng` for a while, for transforms of users that draw from them."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    seed = int(rng.integers(2**32))
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
