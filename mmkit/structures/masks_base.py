"""What every kind of masks can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from typing_extensions import Self

Index = int | slice | Sequence[int] | np.ndarray | Tensor
DIRECTIONS = ('horizontal', 'vertical', 'diagonal')


def rescaled_size(height: int, width: int, scale: float | Sequence[float]) -> tuple[int, int]:
    """The (height, width) of an image after scaling it with its aspect ratio kept.

    Args:
        scale: a factor, or two lengths: the image becomes as large as fits into them, the longer length standing for
            the longer edge whatever the order.

    Raises:
        ValueError: if the scale is not positive.
    """
    if isinstance(scale, (int, float)):
        factor = float(scale)
    else:
        factor = min(max(scale) / max(height, width), min(scale) / min(height, width))
    if factor <= 0:
        raise ValueError(f'cannot scale an image by {scale}')
    return int(height * factor + 0.5), int(width * factor + 0.5)


def check_direction(direction: str) -> None:
    if direction not in DIRECTIONS:
        raise ValueError(f'unknown flip direction {direction!r}; there are: {", ".join(DIRECTIONS)}')


def as_rows(index: Index, num_rows: int) -> np.ndarray:
    """Any index as (K,) row numbers."""
    if isinstance(index, Tensor):
        index = index.detach().cpu().numpy()
    if isinstance(index, (int, np.integer)) and not -num_rows <= index < num_rows:
        raise IndexError(f'mask {index} of {num_rows}')
    if isinstance(index, Sequence) and not len(index):
        return np.zeros(0, dtype=np.int64)
    return np.atleast_1d(np.arange(num_rows)[index])


class Masks(ABC):
    """Masks of N objects on a canvas of `height` x `width` pixels. Every operation returns new masks."""

    height: int
    width: int

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: Index) -> Self:
        """The chosen masks, still a collection if `index` is an int."""

    @property
    @abstractmethod
    def areas(self) -> np.ndarray:
        """(N,) pixels of each mask."""

    @abstractmethod
    def to_ndarray(self) -> np.ndarray:
        """(N, height, width) uint8, 0 and 1."""

    @classmethod
    @abstractmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        """One after the other, all of one canvas."""

    def to_tensor(self, dtype: torch.dtype = torch.uint8, device: torch.device | str = 'cpu') -> Tensor:
        """(N, height, width)."""
        return torch.as_tensor(self.to_ndarray(), dtype=dtype, device=device)

    def __iter__(self) -> Iterator[Self]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f'{type(self).__name__}(num_masks={len(self)}, height={self.height}, width={self.width})'

    @staticmethod
    def _common_canvas(parts: Sequence[Any]) -> tuple[int, int]:
        if not parts:
            raise ValueError('nothing to concatenate')
        sizes = {(part.height, part.width) for part in parts}
        if len(sizes) > 1:
            raise ValueError(f'masks of different canvases (height, width): {sorted(sizes)}')
        return sizes.pop()
