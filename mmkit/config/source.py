"""The text of a config file, with stand-ins for values of its bases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Source:
    """The text of one config file."""

    file: str  # as messages show it
    text: str
    refs: Mapping[str, str] = field(default_factory=dict)  # stand-in -> dotted key of `{{_base_.key}}`

    def at(self, line: int) -> str:
        lines = self.text.splitlines()
        shown = lines[line - 1].strip() if 0 < line <= len(lines) else ''
        return f'{self.file}:{line}: {shown}'


def fill_refs(text: str, refs: Mapping[str, str], base_value: Callable[[str], Any]) -> Any:
    """`text` with the stand-ins of `{{_base_.key}}` replaced; where it is nothing else, the value in its own type."""
    for stand_in, key in refs.items():
        if text == stand_in:
            return base_value(key)
        if stand_in in text:
            text = text.replace(stand_in, str(base_value(key)))
    return text
