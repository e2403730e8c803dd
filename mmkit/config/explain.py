"""The leaves of a config with their origins, and the differences of two configs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mmkit.config.config_dict import ConfigDict, Origin


@dataclass
class Leaf:
    """A value of a config that holds no dict with keys of its own."""

    path: str
    value: Any
    origin: Origin | None

    def __str__(self) -> str:
        return f'{self.path} = {self.value!r}' + (f'  # {self.origin}' if self.origin else '')


def leaves(value: Any, path: str = '', origin: Origin | None = None) -> Iterator[Leaf]:
    """Every leaf of a config, in order; a list that holds dicts is no leaf, its items are."""
    prefix = f'{path}.' if path else ''
    if isinstance(value, ConfigDict) and value:
        for key, item in value.items():
            yield from leaves(item, f'{prefix}{key}', value._origins.get(key))
    elif isinstance(value, (list, tuple)) and any(isinstance(item, ConfigDict) for item in value):
        for index, item in enumerate(value):
            yield from leaves(item, f'{prefix}{index}', origin)
    else:
        yield Leaf(path, value, origin)


def texts_for_numbers(value: ConfigDict) -> Iterator[Leaf]:
    """The leaves that are texts spelling a number: YAML reads `1e-4` as text, `1.0e-4` as a number."""
    return (leaf for leaf in leaves(value, value._path) if spelled_number(leaf.value) is not None)


def spelled_number(value: object) -> int | float | None:
    """The number that a text spells; None if it spells none, or is no text."""
    if isinstance(value, str) and '_' not in value:  # 20261127_220850 is a time
        for kind in (int, float):
            try:
                return kind(value)
            except ValueError:
                pass
    return None


def differences(first: ConfigDict, second: ConfigDict) -> Iterator[tuple[Leaf | None, Leaf | None]]:
    """The leaves that only one of two configs has, or that differ: (of the first, of the second)."""
    ours = {leaf.path: leaf for leaf in leaves(first)}
    theirs = {leaf.path: leaf for leaf in leaves(second)}
    for path in (*ours, *(path for path in theirs if path not in ours)):
        one, other = ours.get(path), theirs.get(path)
        if one is None or other is None or one.value != other.value:
            yield one, other
