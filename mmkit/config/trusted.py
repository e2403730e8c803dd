"""The `custom_imports` of a config: modules that register a user's own classes."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from typing import Any

from mmkit.errors import ConfigError
from mmkit.utils.imports import admit
from mmkit.utils.names import SCOPES


def import_custom_modules(cfg: Mapping[str, Any], trust: bool) -> None:
    """Import the modules of `custom_imports=dict(imports=[...], allow_failed_imports=False)` of a trusted config.

    Raises:
        ConfigError: `custom_imports` is malformed.
        ImportError: a module cannot be imported and `allow_failed_imports` is not set.
    """
    wanted = cfg.get('custom_imports')
    if not wanted:
        return
    modules = wanted.get('imports') if isinstance(wanted, Mapping) else None
    modules = [modules] if isinstance(modules, str) else modules
    if not isinstance(modules, (list, tuple)) or not all(isinstance(name, str) for name in modules):
        raise ConfigError(f"custom_imports is dict(imports=['package.module', ...]), got {wanted!r}")
    modules = [name for name in modules if name.partition('.')[0] not in SCOPES]  # what they register is here already
    if not modules:
        return
    if not trust:
        warnings.warn(
            f'custom_imports {", ".join(modules)} are not imported: reading a config executes nothing. If you trust '
            f'this config, load it with Config.fromfile(path, trust=True) or --trust-config.',
            stacklevel=3,
        )
        return
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError as error:
            message = f'custom_imports: cannot import {name!r} ({error}); is its folder on PYTHONPATH?'
            if not wanted.get('allow_failed_imports', False):
                raise ImportError(message) from error
            warnings.warn(message, stacklevel=3)
        else:
            admit(name)
