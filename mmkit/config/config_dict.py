"""A dict with attribute access that remembers where its keys were written."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, NamedTuple, TypeVar

from mmkit.utils.names import nearest

Self = TypeVar('Self', bound='ConfigDict')


class Origin(NamedTuple):
    """Where a value was written: a file and its line, or the name of another source (line 0)."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f'{self.file}:{self.line}' if self.line else self.file


class ConfigDict(dict[Any, Any]):
    """A dict whose keys are attributes too; dicts put into it, also inside lists and tuples, become ConfigDicts.

    It equals a plain dict with the same items. Beside them it keeps the origin of each key and its own path in the
    config (`model.neck`): both follow copies and pickles, and a key that is set anew loses its origin.
    Own methods start with an underscore: any other name would hide a key.
    """

    __slots__ = ('_origins', '_path')
    _hidden: tuple[str, ...] = ('_origins', '_path')
    _origins: dict[Any, Origin]
    _path: str

    def __new__(cls: type[Self], *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        object.__setattr__(self, '_origins', {})
        object.__setattr__(self, '_path', '')
        return self

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self.update(*args, **kwargs)

    # ------------------------------------------------------------------ items

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(value, (dict, list, tuple)):
            value = convert(value, self._path_of(key))
        super().__setitem__(key, value)
        self._origins.pop(key, None)

    def _put(self, key: Any, value: Any, origin: Origin | None) -> None:
        """Set a key together with where it was written; unlike by item, `value` is taken as it is, plain dicts too."""
        super().__setitem__(key, value)
        if origin is not None:
            self._origins[key] = origin
        else:
            self._origins.pop(key, None)

    def update(self, *args: Any, **kwargs: Any) -> None:
        for source in (*args, kwargs):
            if isinstance(source, ConfigDict):
                for key, value in source.items():
                    self._put(key, value, source._origins.get(key))
            else:
                for key, value in dict(source).items():
                    self[key] = value

    def setdefault(self, key: Any, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def __or__(self: Self, other: Mapping[Any, Any]) -> Self:
        merged = self.copy()
        merged.update(other)
        return merged

    def __ior__(self: Self, other: Any) -> Self:  # type: ignore[misc]
        self.update(other)
        return self

    def __missing__(self, key: Any) -> Any:
        raise KeyError(self._absent(key))

    # ------------------------------------------------------------------ attributes

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):
            raise AttributeError(name)
        if name in self:
            return self[name]
        raise AttributeError(self._absent(name))

    def __setattr__(self, name: str, value: Any) -> None:
        if hasattr(type(self), name):
            raise AttributeError(f'{name!r} is part of {type(self).__name__} itself; use cfg[{name!r}] = ...')
        self[name] = value

    def __delattr__(self, name: str) -> None:
        if name not in self:
            raise AttributeError(self._absent(name))
        del self[name]

    def _absent(self, key: Any) -> str:
        near = nearest(key, self)
        if near:
            hint = f'the nearest: {", ".join(near)}'
        else:
            hint = f'it has: {", ".join(map(str, list(self)[:12])) or "nothing"}'
        return f'no key {key!r} in {self._path or "this config"}; {hint}'

    # ------------------------------------------------------------------ origins

    def _locate(self, key: Any) -> str:
        """Where `key` stands, for messages: `model.neck.type at configs/x.py:19`; the path alone without an origin."""
        path, origin = self._path_of(key), self._origins.get(key)
        return f'{path} at {origin}' if origin is not None and key in self else path

    def _path_of(self, key: Any) -> str:
        return f'{self._path}.{key}' if self._path else str(key)

    # ------------------------------------------------------------------ copies and pickles

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


def convert(value: Any, path: str = '') -> Any:
    """`value` with plain dicts as ConfigDicts; lists and tuples without one are kept as they are."""
    if isinstance(value, ConfigDict):
        return value
    if isinstance(value, dict):
        made = ConfigDict()
        made.__setstate__({'_path': path})
        made.update(value)
        return made
    if type(value) is list or type(value) is tuple:
        items = [convert(item, f'{path}.{index}') for index, item in enumerate(value)]
        if any(new is not old for new, old in zip(items, value, strict=True)):
            return type(value)(items)
    return value


def untangle(value: Any, path: str = '') -> Any:
    """A copy that shares no container with `value` nor with itself, in which each dict knows its path.

    `_delete_` keys are left out: they have done their work when a config is complete.
    """
    if isinstance(value, ConfigDict):
        new = ConfigDict()
        new.__setstate__({'_path': path, '_origins': dict(value._origins)})
        for key, item in value.items():
            if key != '_delete_':
                dict.__setitem__(new, key, untangle(item, new._path_of(key)))
        return new
    if isinstance(value, dict):
        return untangle(ConfigDict(value), path)
    if type(value) in (list, tuple):
        return type(value)([untangle(item, f'{path}.{index}') for index, item in enumerate(value)])
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
