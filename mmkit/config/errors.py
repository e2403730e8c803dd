"""What can go wrong while a config is read."""

from __future__ import annotations


class ConfigError(ValueError):
    """A config that cannot be read, or that does not fit the data; the message says where, as far as is known."""


class UnsafeConfigError(ConfigError):
    """A `.py` config that asks for more than reading a config allows; `trust=True` runs it as Python instead."""
