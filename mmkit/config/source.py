"""The text of a config file, with stand-ins for values of its bases, and what is asked of the bases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from mmkit.config.config_dict import ConfigDict, Origin


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


@dataclass
class Loaded:
    """A config file with its bases."""

    values: ConfigDict  # merged; parts of them may be shared
    text: str  # of all files, bases first
    imported: Mapping[str, str] = field(default_factory=dict)  # types it imports: name -> dotted path
    modules: Mapping[str, Origin] = field(default_factory=dict)  # of own types that it or a base imports


class Bases(Protocol):
    """The bases of the config that is being read."""

    def load_bases(self, value: Any, line: int) -> ConfigDict:
        """Read the files of `_base_ = value`; their merged values, which the config may change."""
        ...

    def load_module(self, module: str, line: int) -> Loaded:
        """Read the file of `from module import ...` inside `with read_base():`."""
        ...

    def base_value(self, dotted: str) -> Any:
        """A copy of the value at a dotted key of the bases."""
        ...


def fill_refs(text: str, refs: Mapping[str, str], base_value: Callable[[str], Any]) -> Any:
    """`text` with the stand-ins of `{{_base_.key}}` replaced; where it is nothing else, the value in its own type."""
    for stand_in, key in refs.items():
        if text == stand_in:
            return base_value(key)
        if stand_in in text:
            text = text.replace(stand_in, str(base_value(key)))
    return text
