"""A dict with attribute access that remembers where its keys were written."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, NamedTuple, TypeVar

import addict

from mmkit.errors import UnknownNameError
from mmkit.utils.names import nearest

Self = TypeVar('Self', bound='ConfigDict')


class Origin(NamedTuple):
    """The place where a value was written: a file and its line, or the name of another source (line 0)."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f'{self.file}:{self.line}' if self.line else self.file


CODE = Origin('<code>')  # of values that a script sets in a config


class MissingKeyError(UnknownNameError, AttributeError):
    """A key that a config does not have, asked for as an item or as an attribute."""


class ConfigDict(addict.Dict):
    """An `addict.Dict` in which a missing key is an error; dicts put into it, also inside lists, become ConfigDicts.

    It equals a plain dict with the same items. Beside them it keeps its own path in the config (`model.neck`), its own
    origin and that of each key: they follow copies and pickles, and a key that a script sets anew has the origin CODE.
    Methods beyond addict's start with an underscore: any other name would hide a key from attribute access.
    """

    __slots__ = ('_origin', '_origins', '_path', '_written')
    _hidden: tuple[str, ...] = ('_origin', '_origins', '_path', '_written')
    _origin: Origin | None
    _written: Mapping[Any, Any]  # keys that were renamed after reading: the name that the file has
    _origins: dict[Any, Origin]
    _path: str

    def __new__(cls: type[Self], *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        self.__setstate__({'_origin': None, '_origins': {}, '_path': '', '_written': {}})
        return self

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self.update(*args, **kwargs)

    # ------------------------------------------------------------------ items

    def __setitem__(self, key: Any, value: Any) -> None:
        origin = CODE if self._origins or self._origin else None  # None: no part of a config that was read
        if isinstance(value, (dict, list, tuple)):
            value = convert(value, self._path_of(key), origin)
        super().__setitem__(key, value)
        self._put(key, value, origin)

    def _put(self, key: Any, value: Any, origin: Origin | None) -> None:
        """Set a key together with its origin; unlike by item, `value` is taken as it is, plain dicts too."""
        dict.__setitem__(self, key, value)
        if origin is not None:
            self._origins[key] = origin
        else:
            self._origins.pop(key, None)

    def _overlay(self, other: Mapping[Any, Any]) -> None:
        """`dict.update`: the items of `other`, with their origins, replace those of the same keys."""
        origins = other._origins if isinstance(other, ConfigDict) else {}
        for key, value in other.items():
            self._put(key, value, origins.get(key))

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set the items of mappings or of pairs; as in addict, a dict merges into a dict of the same key."""
        for source in (*args, kwargs):
            items = source if isinstance(source, Mapping) else dict(source)
            for key, value in items.items():
                old = self.get(key)
                if isinstance(value, dict) and isinstance(old, ConfigDict):
                    old.update(value)
                    continue
                self[key] = value
                if isinstance(items, ConfigDict):
                    self._put(key, self[key], items._origins.get(key))

    def setdefault(self, key: Any, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def __or__(self: Self, other: Mapping[Any, Any]) -> Self:
        merged = self.deepcopy()
        merged.update(other)
        return merged

    def __ror__(self: Self, other: Mapping[Any, Any]) -> Self:
        return type(self)(other) | self

    def __add__(self, other: object) -> Any:  # that of addict is for counting in keys that are missing
        return NotImplemented

    def __missing__(self, key: Any) -> Any:
        raise self._missing_key(key)

    # ------------------------------------------------------------------ attributes

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):
            raise AttributeError(name)
        if name in self:
            return self[name]
        raise self._missing_key(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if hasattr(type(self), name):
            raise AttributeError(f'{name!r} is part of {type(self).__name__} itself; use cfg[{name!r}] = ...')
        self[name] = value

    def __delattr__(self, name: str) -> None:
        if name not in self:
            raise self._missing_key(name)
        del self[name]

    def _missing_key(self, key: Any) -> MissingKeyError:
        near = nearest(key, self)
        if near:
            hint = f'the nearest: {", ".join(near)}'
        else:
            hint = f'it has: {", ".join(map(str, list(self)[:12])) or "nothing"}'
        return MissingKeyError(f'no key {key!r} in {self._path or "this config"}; {hint}')

    # ------------------------------------------------------------------ origins

    def _locate(self, path: str | None = None) -> str:
        """A value's place for messages: `model.neck.type at configs/x.py:19`, or its path alone without an origin."""
        origin = self._origin_of(path)
        name = self._path if path is None else self._path_of(path)
        return f'{name} at {origin}' if origin is not None else name

    def _origin_of(self, path: str | None = None) -> Origin | str | None:
        """The place where a value was written; `str()` of it is for messages.

        Args:
            path: a key or a dotted path below this dict (`pipeline.2.img_scale`); None is the dict itself.

        Returns:
            The origin. An item of a list has that of the list. For the dict itself, and in place of an unknown origin
            or a missing key that of the dict around it: every file with its lines, `mine.py:7, base.py:46-49`. None
            if nothing is known.
        """
        owner, key, value = self, None, self  # the innermost dict, the key of it, and the value that it leads to
        for part in path.split('.') if path is not None else ():
            if isinstance(value, ConfigDict):
                if part not in value:
                    owner, key = value, None
                    break
                owner, key, value = value, part, value[part]
            elif isinstance(value, (list, tuple)) and part.isdigit() and int(part) < len(value):
                value = value[int(part)]
                if isinstance(value, ConfigDict):
                    owner, key = value, None
            else:
                break
        return owner._origins.get(key) or owner._extent()

    def _extent(self) -> Origin | str | None:
        """The files and lines of all keys, beginning with the file in which this dict was written last."""
        origins = [self._origins[key] for key in self if key in self._origins]
        origins = [origin for origin in origins if origin != CODE] or origins
        if not origins:
            return self._origin
        lines: dict[str, list[int]] = {self._origin.file: []} if self._origin is not None else {}
        for origin in origins:
            lines.setdefault(origin.file, []).append(origin.line)
        places = []
        for file, numbers in lines.items():
            first, last = min(numbers, default=0), max(numbers, default=0)
            places.append(f'{Origin(file, first)}' + (f'-{last}' if last > first else ''))
        return ', '.join(places)

    def _path_of(self, key: Any) -> str:
        key = self._written.get(key, key)
        return f'{self._path}.{key}' if self._path else str(key)

    # ------------------------------------------------------------------ copies and pickles

    def to_dict(self) -> dict[Any, Any]:
        """A copy of plain dicts, lists and tuples."""
        return {key: _plain(value) for key, value in self.items()}

    def copy(self: Self) -> Self:
        new = type(self)()
        dict.update(new, self)
        new.__setstate__({**self._state(), '_origins': dict(self._origins)})
        return new

    __copy__ = copy

    def __deepcopy__(self: Self, memo: dict[int, Any]) -> Self:
        new = type(self)()
        memo[id(self)] = new
        for key, value in self.items():
            dict.__setitem__(new, key, deepcopy(value, memo))
        new.__setstate__({**self._state(), '_origins': dict(self._origins)})
        return new

    def _state(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._hidden}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)

    def __reduce__(self) -> Any:
        return type(self), (), self._state(), None, iter(self.items())


def convert(value: Any, path: str = '', origin: Origin | None = None) -> Any:
    """`value` with plain dicts as ConfigDicts of this path and origin; a list without a dict stays the same object."""
    if isinstance(value, ConfigDict):
        return value
    if isinstance(value, dict):
        new = ConfigDict()
        new.__setstate__({'_path': path, '_origin': origin})
        for key, item in value.items():
            new._put(key, convert(item, new._path_of(key), origin), origin)
        return new
    if type(value) is list or type(value) is tuple:
        items = [convert(item, f'{path}.{index}', origin) for index, item in enumerate(value)]
        if any(new is not old for new, old in zip(items, value, strict=True)):
            return type(value)(items)
    return value


def untangle(value: Any, path: str = '', origin: Origin | None = None) -> Any:
    """A copy that shares no container with `value` nor with itself, in which each dict knows its path and origin.

    `_delete_` keys are left out: they have done their work when a config is complete.
    """
    if isinstance(value, ConfigDict):
        new = ConfigDict()
        new.__setstate__({**value._state(), '_path': path, '_origin': origin, '_origins': dict(value._origins)})
        for key, item in value.items():
            if key != '_delete_':
                dict.__setitem__(new, key, untangle(item, new._path_of(key), new._origins.get(key, origin)))
        return new
    if isinstance(value, dict):
        return untangle(convert(value), path, origin)
    if type(value) in (list, tuple):
        return type(value)([untangle(item, f'{path}.{index}', origin) for index, item in enumerate(value)])
    return set(value) if type(value) is set else value


def merge(base: ConfigDict, child: ConfigDict) -> ConfigDict:
    """`child` over `base`: dicts merge key by key, anything else is replaced, `_delete_=True` drops the base's dict.

    Neither is changed; the result shares values with both.
    """
    if child.get('_delete_'):
        merged = child.copy()
    else:
        merged = base.copy()
        for key, value in child.items():
            old = base.get(key)
            if isinstance(value, ConfigDict) and isinstance(old, ConfigDict):
                value = merge(old, value)
            merged._put(key, value, child._origins.get(key))
    merged.pop('_delete_', None)
    return merged


def merge_into(base: ConfigDict, child: ConfigDict) -> None:
    """`merge` that changes `base` and the dicts in it, so that whatever else holds them sees the change."""
    if child.get('_delete_'):
        base.clear()
    for key, value in child.items():
        old = base.get(key)
        if isinstance(value, ConfigDict) and isinstance(old, ConfigDict):
            merge_into(old, value)
        elif key != '_delete_':
            base._put(key, value, child._origins.get(key))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return type(value)([_plain(item) for item in value]) if type(value) in (list, tuple) else value
