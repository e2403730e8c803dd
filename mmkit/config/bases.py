"""Search for the bases of a config: beside it, among another project's configs, in a module's file."""

from __future__ import annotations

import os
from collections.abc import Iterator

from mmkit.config.config_dict import ConfigDict
from mmkit.errors import ConfigError, MissingFileError
from mmkit.utils.names import nearest

GIVEN = 'MMKIT_CONFIGS'  # the environment variable with folders of configs: 'mmpretrain=/its/configs:mmdet=/others'
SHIPPED = os.path.normpath(os.path.join(os.path.dirname(__file__), '..', '..', 'configs'))


def base_path(name: str, child: str) -> str:
    """The path of a base: relative to the config `child`, or `scope::path` in the folder of another project's configs.

    Raises:
        ConfigError, MissingFileError: see `scoped_path`.
    """
    scope, colons, path = name.partition('::')
    return scoped_path(scope, path, child) if colons else os.path.normpath(os.path.join(os.path.dirname(child), name))


def scope_of(name: str) -> str | None:
    """The project of `scope::path`, None for a path without a scope."""
    scope, colons, _ = name.partition('::')
    return scope if colons else None


def module_path(module: str, child: str) -> str:
    """The file of a module that the config `child` imports: `..common.coco`, or `mmdet.configs.common.coco`.

    Raises:
        ConfigError: the module has neither leading dots nor a project's `configs`; or see `scoped_path`.
        MissingFileError: see `scoped_path`.
    """
    parts = module.lstrip('.').split('.')
    level = len(module) - len(module.lstrip('.'))
    if parts == ['']:
        raise ConfigError(f'`from {module} import ...` names no file: write `from {module}file import *`')
    if level:
        return os.path.normpath(os.path.join(os.path.dirname(child), *[os.pardir] * (level - 1), *parts) + '.py')
    if len(parts) < 3 or parts[1] != 'configs':
        raise ConfigError(f'{module!r} is no config: a base is imported as `from .file import *`, with leading dots')
    return scoped_path(parts[0], '/'.join(parts[2:]) + '.py', child)


def scoped_path(scope: str, path: str, child: str) -> str:
    """The path of a file of a project's configs.

    It is looked for in the folder that MMKIT_CONFIGS gives for the project, for mmdet in the folders `configs` around
    the config `child`, and in the folder that mmkit ships.

    Raises:
        MissingFileError: it is in none of them.
        ConfigError: MMKIT_CONFIGS is malformed.
    """
    folders = list(dict.fromkeys(_folders(scope, child)))
    for folder in folders:
        found = os.path.normpath(os.path.join(folder, path))
        if os.path.exists(found):
            return found
    raise MissingFileError(
        f'{scope}::{path} is not in {" or ".join(folders)}. Give the folder of the configs of {scope} by the '
        f'environment variable {GIVEN}={scope}=FOLDER'
    )


def _folders(scope: str, child: str) -> Iterator[str]:
    for entry in filter(None, os.environ.get(GIVEN, '').split(os.pathsep)):
        name, equals, folder = entry.partition('=')
        if not (equals and folder):
            raise ConfigError(f'{GIVEN} is SCOPE=FOLDER, or several joined by {os.pathsep!r}; got {entry!r}')
        if name == scope:
            yield os.path.abspath(folder)
    if scope == 'mmdet':
        folder = os.path.dirname(child)
        while folder != os.path.dirname(folder):
            if os.path.basename(folder) == 'configs':
                yield folder
            folder = os.path.dirname(folder)
        yield SHIPPED
    else:
        yield os.path.join(SHIPPED, scope)


def near_path(path: str) -> str:
    """Hint for the message about a path that doesn't exist: the missing folder, the nearest names."""
    folder, name = os.path.split(path)
    missing = ''
    while not os.path.isdir(folder) and folder != os.path.dirname(folder):
        missing = f'there is no folder {folder}; '
        folder, name = os.path.split(folder)
    near = nearest(name, os.listdir(folder)) if os.path.isdir(folder) else []
    return missing + (f'the nearest in its folder: {", ".join(near)}' if near else 'nothing alike is in its folder')


def mark_scope(value: object, scope: str) -> None:
    """Note in each outermost dict with a `type` the project to which it belongs."""
    if isinstance(value, ConfigDict):
        if 'type' in value:
            value._put('_scope_', scope, value._origins.get('type'))
        else:
            for item in value.values():
                mark_scope(item, scope)
    elif isinstance(value, (list, tuple)):
        for item in value:
            mark_scope(item, scope)
