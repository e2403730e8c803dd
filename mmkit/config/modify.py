"""Looking up and setting values of a config by dotted keys."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from mmkit.config.config_dict import ConfigDict, Origin, convert, merge, untangle
from mmkit.errors import InvalidTypeError, UnknownNameError, UserError


class InvalidIndexError(UserError, IndexError):
    """An index of a dotted key that is outside its list."""


def find(cfg: ConfigDict, path: str) -> tuple[Any, Any]:
    """The container and the key or index that a dotted key leads to.

    Raises:
        UserError: it leads nowhere; a KeyError, an IndexError or a TypeError too.
    """
    container: Any = None
    key: Any = None
    value: Any = cfg
    for part in path.split('.'):
        container, key = value, part
        if isinstance(value, (list, tuple)):
            key = _index(value, part, path)
        elif not isinstance(value, ConfigDict):
            raise UnknownNameError(f'{path!r}: {part!r} is looked for in a {type(value).__name__}')
        value = container[key]
    return container, key


def set_options(cfg: ConfigDict, options: Mapping[str, Any], origin: Origin) -> None:
    """Set values by dotted keys; see Config.merge_from_dict."""
    for path, value in options.items():
        _set(cfg, str(path).split('.'), value, origin, str(path))


def _set(container: Any, parts: list[str], value: Any, origin: Origin, path: str) -> Any:
    """Set `value` at `parts` below `container`; returns what takes the container's place (tuples are made anew)."""
    first, rest = parts[0], parts[1:]
    if isinstance(container, tuple):
        return tuple(_set(list(container), parts, value, origin, path))
    if container is None:
        container = ConfigDict()
    if isinstance(container, list):
        key: Any = _index(container, first, path)
    elif isinstance(container, ConfigDict):
        key = first
        if rest and container.get(key) is None:
            container._put(key, convert({}, container._path_of(key), origin), origin)
    else:
        raise InvalidTypeError(
            f'{path!r}: {first!r} would be set inside {container!r}, which is neither a dict nor a list'
        )
    if rest:
        new = _set(container[key], rest, value, origin, path)
    else:
        old = container[key] if isinstance(container, list) else container.get(key)
        new = untangle(_over(old, convert(deepcopy(value), origin=origin)), path, origin)
    if isinstance(container, list):
        container[key] = new
    elif all(map(_is_index, rest)):  # the value of this key itself is changed, or its list
        container._put(key, new, origin)
    else:
        dict.__setitem__(container, key, new)
    return container


def _over(old: Any, new: Any) -> Any:
    """`new` in the place of `old`: a dict merges into a dict, and into a list if its keys are indices."""
    if isinstance(new, ConfigDict) and isinstance(old, ConfigDict):
        return merge(old, new)
    if isinstance(new, ConfigDict) and isinstance(old, (list, tuple)) and new and all(_is_index(key) for key in new):
        items = list(old)
        for key, value in new.items():
            index = _index(items, str(key), str(key))
            items[index] = _over(items[index], value)
        return type(old)(items)
    return new


def _is_index(part: Any) -> bool:
    return str(part).removeprefix('-').isdigit()


def _index(items: list[Any] | tuple[Any, ...], part: str, path: str) -> int:
    if not _is_index(part):
        raise InvalidTypeError(f'{path!r}: {part!r} is not an index, but there is a list of {len(items)}')
    if not -len(items) <= int(part) < len(items):
        raise InvalidIndexError(f'{path!r}: index {part} is outside the list of {len(items)}')
    return int(part)
