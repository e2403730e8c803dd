"""Datasets whose samples repeat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from mmkit.transforms.randomness import seeded_globals


class SeededDataset(Dataset[Any]):
    """Sample i of epoch e is a function of (seed, e, i), whichever process makes it.

    A subclass says how a sample is made from an index and a generator (`get`); a wrapper hands its generator on to the
    dataset it wraps, so that two appearances of an image in one epoch are augmented differently.

    Attributes:
        CLASSES: names of the labels 0..C-1.
        PALETTE: RGB of each label, for drawings; None leaves the choice to them.
        flag: (N,) uint8, the group of each image: `GroupSampler` never mixes groups in a batch.
    """

    CLASSES: tuple[str, ...] | None = None
    PALETTE: Sequence[Sequence[int]] | None = None
    flag: np.ndarray

    def __init__(self) -> None:
        self.seed = 0
        # shared memory, so that the epoch reaches workers that live longer than an epoch
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_seed(self, seed: int) -> None:
        """Before workers start."""
        self.seed = int(seed)

    def set_epoch(self, epoch: int) -> None:
        """Between two epochs, that is, before the next iteration over the loader begins."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        raise NotImplementedError

    def get(self, index: int, rng: np.random.Generator) -> Any:
        """Sample `index`, with `rng` as its only source of chance."""
        raise NotImplementedError

    def get_cat_ids(self, index: int) -> list[int]:
        """The labels of the objects of image `index`."""
        raise NotImplementedError

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(f'sample {index} of {len(self)}')
        rng = np.random.default_rng((self.seed, int(self._epoch), int(index)))
        with seeded_globals(rng):
            return self.get(int(index), rng)
