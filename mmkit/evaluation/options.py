"""Checks of the options of metrics. Each names the option that is wrong, as `key` of the error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmkit.errors import InvalidValueError
from mmkit.utils.names import suggestion


def check_names(what: str, given: str | Sequence[str], known: Sequence[str], key: str) -> list[str]:
    """One name or several as a list; all of them must be among `known`.

    Args:
        what: what the names are of, for the message: 'metric'.
    """
    if not isinstance(given, (str, list, tuple)):
        raise InvalidValueError(f'{key} is {given!r}, expected some of: {", ".join(known)}', key=key)
    names = [given] if isinstance(given, str) else list(given)
    for name in names:
        if name not in known:
            hint = suggestion(name, known) or ';'
            raise InvalidValueError(f'unknown {what} {name!r}{hint} there are: {", ".join(known)}', key=key)
    return names


def check_thresholds(values: object, key: str) -> list[float]:
    """One threshold or several, from 0 to 1, as a list."""
    numbers: list[Any] = list(values) if isinstance(values, (list, tuple, np.ndarray)) else [values]
    if not numbers or not all(_is_number(number) and 0 <= number <= 1 for number in numbers):
        raise InvalidValueError(f'{key} is {values!r}, expected numbers from 0 to 1, such as [0.5, 0.75]', key=key)
    return [float(number) for number in numbers]


def check_counts(values: object, key: str) -> list[int]:
    """Several positive whole numbers as a list."""
    numbers = list(values) if isinstance(values, (list, tuple, np.ndarray)) else []
    if not numbers or not all(_is_whole(number) and number > 0 for number in numbers):
        message = f'{key} is {values!r}, expected a list of positive whole numbers, such as [100, 300, 1000]'
        raise InvalidValueError(message, key=key)
    return [int(number) for number in numbers]


def check_ranges(values: object, key: str) -> list[tuple[float, float]] | None:
    """Pairs of rising numbers from 0 on, or None."""
    if values is None:
        return None
    pairs = list(values) if isinstance(values, (list, tuple)) else []
    if not pairs or not all(_is_range(pair) for pair in pairs):
        message = f'{key} is {values!r}, expected (from, to) pairs of pixels, such as [(0, 32), (32, 96)]'
        raise InvalidValueError(message, key=key)
    return [(float(low), float(high)) for low, high in pairs]


def check_flag(value: object, key: str) -> bool:
    """True or False, or 1 or 0."""
    if not isinstance(value, int) or value not in (0, 1):
        raise InvalidValueError(f'{key} is {value!r}, expected True or False', key=key)
    return bool(value)


def _is_range(pair: object) -> bool:
    if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not all(_is_number(value) for value in pair):
        return False
    return bool(0 <= pair[0] < pair[1])


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
