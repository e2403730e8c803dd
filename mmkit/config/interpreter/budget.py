"""Limits on the work that reading a config may cause."""

from __future__ import annotations

from typing import Any

MAX_WORK = 1_000_000  # syntax nodes evaluated plus items and characters produced
MAX_BITS = 4096  # of an integer
MAX_DEPTH = 100  # of nested containers


class Refused(Exception):
    """An operation that a config may not do, most often because it takes more work than any real config needs."""


class Budget:
    """The work that is left: whatever takes time or memory is paid for before it is done."""

    def __init__(self, work: int = MAX_WORK) -> None:
        self.left = work

    def spend(self, work: int) -> None:
        self.left -= work
        if self.left < 0:
            raise Refused('this takes more work than any config needs')

    def spend_on(self, value: Any) -> None:
        """Pay for visiting all of `value`; a part that occurs several times is paid for each time."""
        if isinstance(value, (bool, int, float)) or value is None:
            return
        stack: list[tuple[Any, int]] = [(value, 0)]
        while stack:
            item, depth = stack.pop()
            if depth > MAX_DEPTH:
                raise Refused(f'containers are nested deeper than {MAX_DEPTH}')
            self.spend(1)
            if isinstance(item, (str, bytes, range)):
                self.spend(_length(item))
            elif isinstance(item, dict):
                stack.extend((part, depth + 1) for pair in item.items() for part in pair)
            elif isinstance(item, (list, tuple, set)):
                stack.extend((part, depth + 1) for part in item)


def _length(value: Any) -> int:
    """The length, also of a range that is too long for len()."""
    return max(0, (value.stop - value.start) // value.step + 1) if isinstance(value, range) else len(value)


def checked_int(value: Any) -> Any:
    """`value`; an integer beyond the limit is refused."""
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise Refused(f'an integer of more than {MAX_BITS} bits')
    return value
