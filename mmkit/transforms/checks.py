"""Checks of constructor arguments that several transforms share."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mmkit.errors import InvalidValueError

Size = tuple[int, int]  # (height, width)
MAX_LEVEL = 10  # of the operations of AutoAugment's policies, arXiv:1906.11172


def check_choice(key: str, given: str, known: Collection[str]) -> None:
    """Raises an InvalidValueError unless `given`, the value of argument `key`, is one of `known`."""
    if given not in known:
        raise InvalidValueError(f'unknown {key} {given!r}; there are: {", ".join(known)}', key=key)


def check_probability(owner: str, **values: float) -> None:
    """Raises an InvalidValueError unless all `values`, by argument name, are in 0..1."""
    for key, value in values.items():
        if not 0 <= value <= 1:
            raise InvalidValueError(f'{owner}.{key} is a probability, got {value}', key=key)


def check_level(owner: str, level: float) -> None:
    """Raises an InvalidValueError unless `level` is a strength in 0..10."""
    if not 0 <= level <= MAX_LEVEL:
        raise InvalidValueError(f'{owner}.level is a strength between 0 and {MAX_LEVEL}, got {level}', key='level')


def as_size(size: int | Sequence[int], key: str = 'size', *, allows_edge: bool = False) -> Size:
    """(height, width) from such a pair, or from the edge of a square.

    Args:
        size: value of the argument.
        key: name of the argument.
        allows_edge: (edge, -1) is allowed, too.

    Raises:
        InvalidValueError: for any other value.
    """
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or pair[0] < 1 or (pair[1] < 1 and not (allows_edge and pair[1] == -1)):
        forms = 'an edge, (height, width) or (edge, -1)' if allows_edge else 'an edge or (height, width)'
        raise InvalidValueError(f'{key} is {forms}, got {size!r}', key=key)
    return int(pair[0]), int(pair[1])
