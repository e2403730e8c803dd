"""Remarks on values that a dialect cannot spell, or not to the last digit."""

from __future__ import annotations

from collections.abc import Mapping


class Notes(list[str]):
    """Remarks for the reader of a written config, a line each; they name the keys that are missing."""

    def add(self, note: str) -> None:
        """Add a remark, once."""
        if note not in self:
            self.append(note)

    def drop(self, where: str, dialect: int, **values: object) -> None:
        """Remark that values have no spelling; those that say nothing (None, False, nothing in it) need none."""
        for key, value in values.items():
            if value:
                self.add(f'{where} has no {key} in mmdetection {dialect}.x: {key}={shown(value)} is left out')

    @property
    def comments(self) -> str:
        """The remarks as comments of a config."""
        return ''.join(f'# {note}\n' for note in self)


def shown(value: object) -> str:
    """A value in a remark; of a config its type."""
    return repr(value['type']) if isinstance(value, Mapping) and 'type' in value else repr(value)
