"""A whole config: reading, changing, explaining and writing it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from mmkit.config.config_dict import ConfigDict, Origin, untangle
from mmkit.config.loader import load, shown
from mmkit.config.modify import find, set_options
from mmkit.config.trusted import import_own_modules


class Config(ConfigDict):
    """A ConfigDict with the file it came from.

    Args:
        cfg_dict: its contents; they are copied.
        filename: the file it came from.
        text: the texts of that file and its bases.
    """

    __slots__ = ('_filename', '_text')
    _hidden = (*ConfigDict._hidden, '_filename', '_text')
    _filename: str | None
    _text: str

    def __init__(self, cfg_dict: Mapping[str, Any] | None = None, filename: str | None = None, text: str = '') -> None:
        self.__setstate__({'_filename': filename, '_text': text})
        super().__init__(untangle(ConfigDict(cfg_dict or {})))

    @classmethod
    def fromfile(cls, filename: str | os.PathLike[str], trust: bool = False) -> Config:
        """Read a `.py`, `.yaml` or `.json` config with its bases.

        Args:
            filename: the file.
            trust: run `.py` configs that do more than plain expressions as Python, and import the modules of
                `custom_imports` and of the types that they import. Without it, reading a config executes nothing.

        Raises:
            MissingFileError: the file or one of its bases doesn't exist.
            ConfigError: the config is wrong; UnsafeConfigError: it needs `trust`.
        """
        filename = os.fspath(filename)
        loaded = load(filename, trust)
        import_own_modules(loaded, trust)
        return cls(loaded.values, shown(os.path.abspath(filename)), loaded.text)

    @classmethod
    def fromstring(cls, text: str, file_format: str = '.py', trust: bool = False) -> Config:
        """Read a config from text in the format of a `.py`, `.yaml` or `.json` file; bases are relative to the cwd."""
        loaded = load(f'<string>{file_format}', trust, text)
        import_own_modules(loaded, trust)
        return cls(loaded.values, None, text)

    # ------------------------------------------------------------------ source

    @property
    def filename(self) -> str | None:
        """The file it was read from."""
        return self._filename

    @property
    def text(self) -> str:
        """The texts of its file and of its bases, bases first."""
        return self._text

    def origin(self, path: str) -> Origin | str | None:
        """The place where the value at a dotted key (`model.neck.type`) was written, None if that is not known.

        An item of a list has the place of the list; `str()` of a place is a file and a line.

        Raises:
            UserError: the key leads nowhere; a KeyError, an IndexError or a TypeError too.
        """
        find(self, path)
        return self._origin_of(path)

    # ------------------------------------------------------------------ change and write

    def merge_from_dict(self, options: Mapping[str, Any], source: str = 'merge_from_dict') -> None:
        """Set values by dotted keys, list indices among them: `{'data.train.pipeline.2.img_scale': (512, 512)}`.

        Args:
            options: a value for each dotted key; dicts merge into dicts.
            source: the origin of these values, for later messages.

        Raises:
            InvalidIndexError: an index outside a list.
            InvalidTypeError: a key inside something that is neither a dict nor a list.
        """
        set_options(self, options, Origin(source))

    @property
    def pretty_text(self) -> str:
        """The config as Python source that reads back to an equal config."""
        from mmkit.config.dump import to_python

        return to_python(self)

    def dump(self, path: str | os.PathLike[str]) -> None:
        """Write the config to a `.py`, `.yaml`, `.yml` or `.json` file (the last three turn tuples into lists)."""
        from mmkit.config.dump import write

        write(self, os.fspath(path))

    def __repr__(self) -> str:
        return f'Config({self._filename!r}): {dict.__repr__(self)}'
