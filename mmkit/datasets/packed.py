"""Annotations in one piece of memory."""

from __future__ import annotations

import pickle
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np


class PackedList(Collection[Any]):
    """A list of small objects, stored as one array of bytes and one of offsets.

    Millions of Python objects cost gigabytes, and reading one writes to its reference count, so that each worker
    process ends up with a copy of all of them. Two arrays are shared by all the workers.
    Reading an item makes a new object.

    Args:
        items: dicts of numbers, texts, lists, arrays.
    """

    def __init__(self, items: Collection[Any]) -> None:
        packed = [pickle.dumps(item, protocol=5) for item in items]  # bytes of our own making, read by nobody else
        self._bytes = np.frombuffer(b''.join(packed), dtype=np.uint8)
        self._ends = np.cumsum([len(item) for item in packed], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(f'item {index} of {len(self)}')
        index %= len(self)
        start = self._ends[index - 1] if index else 0
        return pickle.loads(self._bytes[start : self._ends[index]].data)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __contains__(self, item: object) -> bool:
        return any(each == item for each in self)

    @property
    def nbytes(self) -> int:
        return self._bytes.nbytes + self._ends.nbytes
