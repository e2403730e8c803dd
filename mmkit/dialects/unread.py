"""Keys of a config that nothing reads: probably misspelt."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from mmkit.config import ConfigDict
from mmkit.utils.names import nearest


def unread_keys(cfg: Mapping[str, Any], known: Collection[str], customary: Collection[str] = ()) -> list[str]:
    """Top-level keys that are neither known nor building blocks of known ones.

    A name whose value turns up inside a key that is read is a building block, as `norm_cfg` is for `model`; unless it
    nearly has the name of a key.

    Args:
        known: keys that are read.
        customary: building blocks by custom; they need not turn up anywhere.
    """
    values = [cfg[key] for key in cfg if key in known]
    return [
        key
        for key in cfg
        if key not in known
        and key not in customary
        and (_nearest_key(key, known) is not None or not any(_holds(value, cfg[key]) for value in values))
    ]


def describe_unread(
    cfg: ConfigDict, known: Collection[str], customary: Collection[str], in_data: Collection[str] | None = None
) -> Iterator[str]:
    """A message for each top-level key, and each key of `data`, that nothing reads: file, line and the nearest key.

    Args:
        known, customary: as in `unread_keys`.
        in_data: keys of `data` that are read; None if `data` is no key itself.
    """
    for key in unread_keys(cfg, known, customary):
        yield _message(f'the top-level key {key!r}', cfg, key, _nearest_key(key, known))
    data = cfg.get('data')
    if isinstance(data, ConfigDict) and in_data is not None:
        for key in data:
            if key not in in_data:
                yield _message(f'data.{key}', data, key, next(iter(nearest(key, in_data, 1)), None))


def _message(name: str, owner: ConfigDict, key: str, near: str | None) -> str:
    origin = owner._origins.get(key)
    place = f' (at {origin})' if origin else ''
    hint = f', did you mean {near!r}?' if near else ''
    return f'nothing reads {name}{place}{hint}'


def _nearest_key(key: str, known: Collection[str]) -> str | None:
    """The known key that is meant by a misspelt one, if there is one."""
    near = difflib.get_close_matches(key, known, 1, cutoff=0.8)
    return near[0] if near else None


def _holds(value: object, part: object) -> bool:
    """True if `part` is `value` or somewhere in it: as an item, as items of a dict, or as the start of a path."""
    if type(value) is type(part) and value == part:
        return True
    if isinstance(value, str) and isinstance(part, str):
        return bool(part) and value.startswith(part)
    if isinstance(value, Mapping):
        if isinstance(part, Mapping) and part and all(key in value and value[key] == part[key] for key in part):
            return True
        return any(_holds(item, part) for item in value.values())
    if isinstance(value, (list, tuple)):
        if isinstance(part, (list, tuple)) and list(value) == list(part):
            return True
        return any(_holds(item, part) for item in value)
    return False
