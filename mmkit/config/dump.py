"""Writing a config: as Python, YAML or JSON."""

from __future__ import annotations

import json
import keyword
import math
import os
import re
import types
from dataclasses import dataclass
from typing import Any

from mmkit.config.config_dict import ConfigDict
from mmkit.errors import InvalidTypeError, InvalidValueError

WIDTH = 110
INDENT = '    '


def write(cfg: ConfigDict, path: str) -> None:
    """Write a config in the format of the file's suffix.

    Raises:
        InvalidValueError: the suffix is none of `.py`, `.yaml`, `.yml`, `.json`.
        InvalidTypeError: a value that no config file can hold.
    """
    suffix = os.path.splitext(path)[1]
    if suffix == '.py':
        text = to_python(cfg)
    elif suffix == '.json':
        text = json.dumps(_plain(cfg), indent=2) + '\n'
    elif suffix in ('.yaml', '.yml'):
        import yaml

        text = yaml.safe_dump(_plain(cfg), sort_keys=False)
    else:
        raise InvalidValueError(f'a config is written to .py, .yaml, .yml or .json, got {path!r}')
    with open(path, 'w', encoding='utf-8') as file:
        file.write(text)


def to_python(cfg: ConfigDict) -> str:
    """A config as assignments that read back to an equal config.

    Raises:
        InvalidValueError: a top-level key that is not a Python identifier.
        InvalidTypeError: a value that cannot be written as an expression.
    """
    lines = []
    for key, value in cfg.items():
        if not _is_name(key) or key.startswith('__') or key == '_base_':
            raise InvalidValueError(f'top-level key {key!r} is not a Python identifier: write yaml or json')
        lines.append(f'{key} = {_layout(_source(value, key), "", len(key) + 3)}\n')
    return ''.join(lines)


@dataclass
class _Group:
    """A bracketed expression, laid out with one item a line where it does not fit on one line."""

    opening: str
    items: list[tuple[str, str | _Group]]  # the text before an item (`key=`), and the item
    closing: str


def _layout(source: str | _Group, indent: str, used: int) -> str:
    flat = _flat(source)
    if isinstance(source, str) or used + len(flat) <= WIDTH:
        return flat
    inner = indent + INDENT
    lines = [f'{inner}{lead}{_layout(item, inner, len(inner) + len(lead))},\n' for lead, item in source.items]
    return f'{source.opening}\n{"".join(lines)}{indent}{source.closing}'


def _flat(source: str | _Group) -> str:
    if isinstance(source, str):
        return source
    items = ', '.join(lead + _flat(item) for lead, item in source.items)
    comma = ',' if source.opening == '(' and len(source.items) == 1 else ''
    return f'{source.opening}{items}{comma}{source.closing}'


def _source(value: Any, path: str) -> str | _Group:
    if isinstance(value, dict):
        if all(_is_name(key) for key in value):
            return _Group('dict(', [(f'{key}=', _source(item, f'{path}.{key}')) for key, item in value.items()], ')')
        pairs = [(f'{_flat(_source(key, path))}: ', _source(item, f'{path}.{key}')) for key, item in value.items()]
        return _Group('{', pairs, '}')
    if isinstance(value, (list, tuple)):
        items = [('', _source(item, f'{path}.{index}')) for index, item in enumerate(value)]
        return _Group('[', items, ']') if isinstance(value, list) else _Group('(', items, ')')
    if isinstance(value, (set, frozenset)):
        parts = sorted(_flat(_source(item, path)) for item in value)
        return _Group('{', [('', part) for part in parts], '}') if parts else 'set()'
    return _atom(value, path)


def _atom(value: Any, path: str) -> str:
    if value is None or isinstance(value, (bool, range)):
        return repr(value)
    if isinstance(value, str):
        text = str.__repr__(value)
        # a string that looks like a variable of a config file would be substituted when it is read back
        return text.replace('{{', f'{{{text[0]} {text[0]}{{') if re.search(r'\{\{[\'"]?\s*[\w$]', text) else text
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return float.__repr__(value) if math.isfinite(value) else f"float('{float(value)}')"
    if isinstance(value, (type, types.FunctionType)):
        return repr(f'{value.__module__}.{value.__qualname__}')
    if hasattr(value, 'item') and not getattr(value, 'shape', ()):  # a NumPy scalar
        return _atom(value.item(), path)
    raise InvalidTypeError(f'{path}: {type(value).__name__} {value!r} cannot be written into a config')


def _is_name(key: Any) -> bool:
    return isinstance(key, str) and key.isidentifier() and not keyword.iskeyword(key)


def _plain(value: Any) -> Any:
    """`value` with nothing but what JSON and YAML hold: tuples, ranges and sets become lists."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, range)):
        return [_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((_plain(item) for item in value), key=repr)
    return value
