"""Errors that a user can mend: in a config, in the data, on the command line."""

from __future__ import annotations


def summary(error: BaseException) -> str:
    """An error in one line: its type and the first line of its message."""
    return f'{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}'


class UserError(Exception):
    """A mistake in a config, in the data, in a file or in an option. A command prints it as one line.

    Constructors and readers raise it with the argument that is wrong; `mmkit.registry.build_from_cfg` completes that to
    the path in the config and adds the file and the line.

    Args:
        message: what was given, what was expected, and the nearest right name.
        key: the argument, or the dotted path in the config, that is wrong.
        origin: where that was written: a file and a line, or an option of the command line.
    """

    def __init__(self, message: str, key: str | None = None, origin: object | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.key = key
        self.origin = origin
        self.is_located = origin is not None

    def locate(self, key: str | None, origin: object | None) -> None:
        """Complete key and origin, unless a more deeply nested config has done so already."""
        if not self.is_located:
            self.key, self.origin, self.is_located = key, origin, True

    def __str__(self) -> str:
        if not self.is_located:
            return self.message
        where = ' at '.join(str(part) for part in (self.key, self.origin) if part is not None)
        return f'{self.message} [{where}]' if where else self.message


class InvalidValueError(UserError, ValueError):
    """A value that makes no sense."""


class InvalidTypeError(UserError, TypeError):
    """A value of the wrong type, or an argument that is missing or unknown."""


class UnknownNameError(UserError, KeyError):
    """A name that nothing has: of a type, of a key, of a class of objects."""


class MissingPackageError(UserError, ImportError):
    """An optional package that is not installed."""


class MissingFileError(UserError, FileNotFoundError):
    """A file or folder that is not there."""


class BrokenDataError(UserError, RuntimeError):
    """Data that cannot be read, or from which no sample can be made."""


class ConfigError(UserError, ValueError):
    """A config that cannot be read, or that does not fit the data."""


class UnsafeConfigError(ConfigError):
    """A `.py` config that asks for more than reading a config allows; `trust=True` runs it as Python instead."""
