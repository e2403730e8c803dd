"""The variables of a `.py` config: its own, those of comprehensions, and the types that it imports."""

from __future__ import annotations

import ast
import builtins
from typing import Any

from mmkit.config.config_dict import ConfigDict, Origin
from mmkit.config.interpreter.budget import Refused
from mmkit.config.source import Loaded
from mmkit.utils.names import SCOPES, nearest

# Packages whose types mmkit registers by their own names.
_SAME_NAMES = ('mmdet.', 'mmengine.', 'mmcv.', 'torch.optim.')
_PACKAGES = (*SCOPES, 'mmkit', 'torch', 'torchvision')


class Variables:
    """The values of names."""

    def __init__(self) -> None:
        self.own = ConfigDict()  # the keys of the config
        self.imported: dict[str, str] = {}  # types that stand for their names: no keys of the config
        self.modules: dict[str, Origin] = {}  # of the user's own among these types
        self.scopes: list[dict[str, Any]] = []  # of comprehensions

    def look_up(self, name: str) -> Any:
        """The value of a name that is no imported type.

        Raises:
            Refused: it is one of Python's own.
            NameError: nothing has it.
        """
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        if name in self.own:
            return self.own[name]
        if name.startswith('__') or name in ('copy', 'deepcopy') or name in vars(builtins):
            raise Refused(f'{name!r} is not a value of a config')
        if name == '_base_':
            raise NameError('a value of _base_ is asked for before _base_ is set')
        near = nearest(name, [*self.own, *self.imported])
        hint = f'; the nearest: {", ".join(near)}' if near else ''
        if _is_class_name(name):
            hint += f'; a type is imported, or written as a text: {name!r}'
        raise NameError(f'name {name!r} is not defined{hint}')

    def delete(self, name: str) -> None:
        """`del name`; errors as in `look_up`."""
        if self.imported.pop(name, None) is None:
            self.look_up(name)
        self.own.pop(name, None)

    def path_of(self, node: ast.expr) -> str | None:
        """The dotted path of an imported type, or of an attribute of an imported module; None of any other value."""
        if isinstance(node, ast.Name):
            is_variable = any(node.id in names for names in (self.own, *self.scopes))
            return None if is_variable else self.imported.get(node.id)
        if isinstance(node, ast.Attribute):
            owner = self.path_of(node.value)
            return None if owner is None else f'{owner}.{node.attr}'
        return None

    # ------------------------------------------------------------------ imports

    def import_module(self, alias: ast.alias) -> None:
        """`import torch.nn as nn`: nothing is imported, the name stands for the path.

        Raises:
            Refused: it isn't a package whose types mmkit has.
        """
        package = alias.name.partition('.')[0]
        if package not in _PACKAGES:
            raise Refused('a config imports nothing but types: `from package.module import Type`')
        self.imported[alias.asname or package] = alias.name if alias.asname else package

    def import_type(self, module: str, alias: ast.alias, origin: Origin) -> None:
        """`from mmdet.models import FCOS`: nothing is imported, the type stands for its name.

        Raises:
            Refused: it doesn't look like a type, and isn't of a package whose types mmkit has.
        """
        is_known = module.partition('.')[0] in _PACKAGES
        if alias.name == '*' or not (is_known or _is_class_name(alias.name)):
            raise Refused('a config imports nothing but types: `from package.module import Type`')
        self.imported[alias.asname or alias.name] = f'{module}.{alias.name}'
        if not is_known:
            self.modules[module] = origin

    def import_values(self, base: Loaded, module: str, alias: ast.alias) -> None:
        """`from .base import *` inside `with read_base():`: keys of a base, and the types that it imports.

        Raises:
            NameError: the base has no such key.
        """
        self.modules.update(base.modules)
        if alias.name == '*':
            self.own._overlay(base.values)
            self.imported.update(base.imported)
        elif alias.name in base.values:
            self.own._put(alias.asname or alias.name, base.values[alias.name], base.values._origins.get(alias.name))
        elif alias.name in base.imported:
            self.imported[alias.asname or alias.name] = base.imported[alias.name]
        else:
            near = nearest(alias.name, [*base.values, *base.imported])
            hint = f'; the nearest: {", ".join(near)}' if near else ''
            raise NameError(f'the file of {module} has no key {alias.name!r}{hint}')


def type_name(path: str) -> str:
    """Name in a config of an imported type: `FCOS`, `mmpretrain.ConvNeXt`, `torch.nn.modules.activation.GELU`."""
    scope, name = path.partition('.')[0], path.rpartition('.')[2]
    if path.startswith(_SAME_NAMES):
        return name
    return f'{scope}.{name}' if scope in SCOPES else path


def _is_class_name(name: str) -> bool:
    """True for a name in CapWords; a constant is not."""
    return name[0].isupper() and not name.isupper()
