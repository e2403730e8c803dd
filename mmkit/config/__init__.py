"""Configs: read, merge, explain. Imports no torch."""

from mmkit.config.config import Config
from mmkit.config.config_dict import ConfigDict, Origin
from mmkit.errors import ConfigError, UnsafeConfigError

__all__ = ['Config', 'ConfigDict', 'ConfigError', 'Origin', 'UnsafeConfigError']
