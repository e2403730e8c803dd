"""Modules that register a user's own classes: those of types that a config imports, and `custom_imports`."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

from mmkit.config.config_dict import ConfigDict
from mmkit.config.source import Loaded
from mmkit.errors import ConfigError, UserError
from mmkit.utils.imports import admit
from mmkit.utils.names import SCOPES


class FailedImportError(UserError, ImportError):
    """A module of a trusted config that cannot be imported."""


def import_own_modules(loaded: Loaded, trust: bool) -> None:
    """Import what registers a user's own classes: modules of types that a trusted config imports, and `custom_imports`.

    Raises:
        ConfigError: `custom_imports` is malformed.
        FailedImportError: a module cannot be imported.
    """
    if trust:
        for name, origin in loaded.modules.items():
            _import(name, None, origin)
    _import_custom_modules(loaded.values, trust)


def _import(name: str, key: str | None, origin: object | None) -> None:
    try:
        importlib.import_module(name)
    except ImportError as error:
        message = f'cannot import {name!r} ({error}); is its folder on PYTHONPATH?'
        raise FailedImportError(message, key, origin) from error
    admit(name)


def _import_custom_modules(cfg: ConfigDict, trust: bool) -> None:
    """Import the modules of `custom_imports=dict(imports=[...], allow_failed_imports=False)` of a trusted config.

    Raises:
        ConfigError: `custom_imports` is malformed.
        FailedImportError: a module cannot be imported and `allow_failed_imports` is not set.
    """
    custom = cfg.get('custom_imports')
    if not custom:
        return
    origin = cfg._origin_of('custom_imports.imports')
    modules: Any = custom.get('imports') if isinstance(custom, ConfigDict) else None
    modules = [modules] if isinstance(modules, str) else modules
    if not isinstance(modules, (list, tuple)) or not all(isinstance(name, str) for name in modules):
        message = f"custom_imports is dict(imports=['package.module', ...]), got {custom!r}"
        raise ConfigError(message, 'custom_imports', origin)
    modules = [name for name in modules if name.partition('.')[0] not in SCOPES]  # what they register is here already
    if not modules:
        return
    if not trust:
        warnings.warn(
            f'custom_imports {", ".join(modules)} are not imported: reading a config executes nothing. If you trust '
            f'this config, load it with Config.fromfile(path, trust=True) or --trust-config.',
            stacklevel=4,
        )
        return
    for name in modules:
        try:
            _import(name, 'custom_imports.imports', origin)
        except FailedImportError as failure:
            if not custom.get('allow_failed_imports', False):
                raise
            warnings.warn(str(failure), stacklevel=4)
