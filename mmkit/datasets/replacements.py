"""Other images in the place of those that cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from mmkit.errors import BrokenDataError
from mmkit.utils.logging import get_logger

logger = get_logger('mmkit.datasets')


class Replacements:
    """Draws another image of the same group where one is broken or of no use, and counts the broken ones.

    Args:
        source: the file or folder that the images are from, for messages.
        num_images: of the dataset.
        max_broken: so many images may be broken.
        max_tries: images that are tried for one sample.
    """

    def __init__(self, source: str, num_images: int, max_broken: int, max_tries: int = 100) -> None:
        self.source = source
        self.max_broken = max_broken
        self.max_tries = max_tries
        # shared memory, so that the workers count together
        self._broken = torch.zeros(num_images, dtype=torch.bool).share_memory_()
        self._problem: OSError | None = None  # the last one that this process met

    def first_usable(
        self, index: int, rng: np.random.Generator, groups: np.ndarray, make: Callable[[int], Any]
    ) -> Any | None:
        """`make(index)`, or that of a drawn image of its group; None if nothing is usable in `max_tries` tries.

        Args:
            groups: (N,), the group of each image.
            make: gives a sample, or None if the image is of no use; raises OSError if it is broken.

        Raises:
            BrokenDataError: if more than `max_broken` images are broken, or no other one is left.
        """
        group = groups[index]
        for _ in range(self.max_tries):
            if not self._broken[index]:
                try:
                    sample = make(index)
                except OSError as error:
                    self._count(index, error)
                else:
                    if sample is not None:
                        return sample
            index = int(rng.choice(np.flatnonzero(groups == group)))
        if self._problem is not None:
            raise BrokenDataError(
                f'no usable sample in {self.max_tries} tries from {self.source}; the last problem: {self._problem}'
            ) from self._problem
        return None

    def _count(self, index: int, error: OSError) -> None:
        self._broken[index] = True
        self._problem = error
        num_broken = int(self._broken.sum())
        if num_broken > self.max_broken:
            raise BrokenDataError(
                f'{num_broken} images of {self.source} cannot be read, more than max_broken={self.max_broken}; '
                f'the last one: {error}'
            ) from error
        logger.warning('%s; skipped, as %d of at most %d broken images', error, num_broken, self.max_broken)
