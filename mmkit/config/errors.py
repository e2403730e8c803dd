"""What can go wrong while a config is read."""

from __future__ import annotations


class ConfigError(ValueError):
    """A config file that cannot be read; the message names the file, the line and the source."""


class UnsafeConfigError(ConfigError):
    """A `.py` config that asks for more than reading a config allows; `trust=True` runs it as Python instead."""
