"""Classes by dotted path, from the packages that a config may name."""

from __future__ import annotations

import importlib
from typing import Any

from mmkit.errors import InvalidValueError, MissingPackageError, UserError

_PACKAGES = {'torch.nn', 'torch.optim', 'torchvision.models', 'torchvision.ops', 'torchvision.transforms', 'mmkit'}


class UnknownClassError(UserError, ImportError):
    """A dotted path to a module or class that does not exist."""


def admit(package: str) -> None:
    """Allow configs to name the classes of `package`, such as `my_project.models`, by dotted paths."""
    _PACKAGES.add(package)


def require_package(name: str, wanted_by: str) -> Any:
    """An optional package.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition('.')[0]
        raise MissingPackageError(f'{wanted_by} needs {package}: pip install {package}', key='type') from error


def find_class(path: str) -> type:
    """The class at a dotted path such as `torch.nn.GELU`.

    Only classes, and only of torch.nn, torch.optim, torchvision's models, ops and transforms, mmkit and admitted
    packages: otherwise a config could call `os.system`.

    Raises:
        InvalidValueError: the path leads outside of these packages, or not to a class of theirs.
        UnknownClassError: there is no such module or class.
    """
    if not _within(path) or '._' in path:
        raise InvalidValueError(
            f'{path!r}: a config names classes of {", ".join(sorted(_PACKAGES))} by dotted path; for others call '
            f'mmkit.utils.imports.admit(package), or list the module in custom_imports of a trusted config',
            key='type',
        )
    target = _resolve(path)
    if not isinstance(target, type) or not _within(target.__module__ + '.'):
        raise InvalidValueError(f'{path!r} is not a class defined in {path.split(".")[0]}', key='type')
    return target


def _within(path: str) -> bool:
    return any(path.startswith(f'{package}.') for package in _PACKAGES)


def _resolve(path: str) -> object:
    parts = path.split('.')
    for count in range(len(parts) - 1, 0, -1):
        module = '.'.join(parts[:count])
        try:
            target: object = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not (module == error.name or module.startswith(f'{error.name}.')):
                raise
            continue
        for name in parts[count:]:
            if not hasattr(target, name):
                raise UnknownClassError(f'{path!r}: {module} has no {".".join(parts[count:])!r}')
            target = getattr(target, name)
        return target
    raise UnknownClassError(f'{path!r}: there is no module {parts[0]!r}')
