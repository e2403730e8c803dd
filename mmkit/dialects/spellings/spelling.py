"""Types whose arguments differ between the dialects: rewritten in place, with the file and line of every key kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mmkit.config import ConfigDict
from mmkit.config.config_dict import convert
from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.registry import Registry
from mmkit.utils.names import unscoped

Rewrite = Callable[[ConfigDict], ConfigDict]
Conversion = Callable[[Any], Any]


@dataclass(frozen=True)
class Spelling:
    """Differences of one type between mmdetection 3.x and the neutral spelling, which is that of 2.x.

    Attributes:
        name: neutral type, where it has another name.
        renamed: neutral argument, by that of 3.x.
        defaults: what a missing argument means, by its neutral name: (in 3.x, in the neutral spelling).
        converted: functions from the value in 3.x to the neutral one and back, by the neutral argument.
        unused: arguments of 3.x that have no effect here, and the values that may stand there.
        refine: last step of reading, for what the tables above cannot say.
        restore: first step of writing, the inverse of `refine`.
        applies: tells whether a neutral config is written as this type, where several of 3.x share a neutral one; the
            first that applies is taken.
    """

    name: str | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    converted: Mapping[str, tuple[Conversion, Conversion]] = field(default_factory=dict)
    unused: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    refine: Rewrite | None = None
    restore: Rewrite | None = None
    applies: Callable[[ConfigDict], bool] | None = None


Spellings = Mapping[str, Spelling]  # by the type's name in 3.x


def read_v3(value: object, spellings: Spellings) -> Any:
    """The neutral spelling of configs of 3.x; the innermost are rewritten first, and `value` stays as it is.

    Args:
        value: a config, or any nesting of dicts and lists with configs in it.
        spellings: of the types that may occur.

    Raises:
        UserError: for an argument that has no meaning here, or two spellings of one argument.
    """
    return _walk(value, lambda cfg: _read(cfg, spellings))


def write_v3(value: object, spellings: Spellings) -> Any:
    """The spelling of 3.x of neutral configs: the inverse of `read_v3`."""
    return _walk(value, lambda cfg: _write(cfg, spellings))


def complete(value: object, spellings: Spellings) -> Any:
    """Neutral configs in which no argument is left out whose default differs between the dialects."""

    def fill(cfg: ConfigDict) -> ConfigDict:
        match = _find(cfg, spellings)
        return cfg if match is None else _complete(cfg, match[1])

    return _walk(value, fill)


def rename(cfg: ConfigDict, names: Mapping[str, str]) -> ConfigDict:
    """A copy with other names of some keys, at the same positions; messages keep the names that the file has.

    Raises:
        InvalidTypeError: an old and its new name are both there.
    """
    renamed = cfg.copy()
    for key in list(renamed):
        dict.__delitem__(renamed, key)
    for key, value in cfg.items():
        new = names.get(key, key)
        if new in renamed or (new != key and new in cfg):
            raise InvalidTypeError(f'{cfg.get("type")} has {key!r} and {new!r}, which are the same', cfg._path_of(key))
        renamed._put(new, value, cfg._origins.get(key))
    show_as(renamed, {new: cfg._written.get(old, old) for old, new in names.items() if old in cfg})
    return renamed


def show_as(cfg: ConfigDict, written: Mapping[str, str]) -> None:
    """Let messages about some keys of a config show the (dotted) keys that the file has."""
    cfg.__setstate__({'_written': {**cfg._written, **written}})


def _read(cfg: ConfigDict, spellings: Spellings) -> ConfigDict:
    spelling = _spelling_of(unscoped(str(cfg.get('type'))), spellings)
    if spelling is None:
        return cfg
    kind = cfg['type']
    for key, allowed in spelling.unused.items():
        if key in cfg and cfg[key] not in allowed:
            path = cfg._path_of(key)
            message = f'{kind}: {key}={cfg[key]!r} is not supported, expected {" or ".join(map(repr, allowed))}'
            raise InvalidValueError(message, path, cfg._origin_of(key))
        cfg.pop(key, None)
    cfg = rename(cfg, spelling.renamed)
    for key, (read, _) in spelling.converted.items():
        if key in cfg:
            cfg._put(key, convert(read(cfg[key]), cfg._path_of(key)), cfg._origins.get(key))
    for key, (meant, _) in spelling.defaults.items():
        if key not in cfg:
            cfg._put(key, convert(meant, cfg._path_of(key)), None)
    if spelling.name is not None:
        cfg._put('type', spelling.name, cfg._origins.get('type'))
    return cfg if spelling.refine is None else spelling.refine(cfg)


def _spelling_of(kind: str, spellings: Spellings) -> Spelling | None:
    """The spelling of a type; a user's own class is spelled as the class of mmkit that it derives from."""
    if kind in spellings:
        return spellings[kind]
    for registry in Registry.everything:
        target = registry.get(kind) if kind in registry else None
        if isinstance(target, type) and not target.__module__.startswith('mmkit.'):
            inherited = [spellings[base.__name__] for base in target.__mro__ if base.__name__ in spellings]
            return next((spelling for spelling in inherited if spelling.name is None), None)
    return None


def _write(cfg: ConfigDict, spellings: Spellings) -> ConfigDict:
    match = _find(cfg, spellings)
    if match is None:
        return cfg
    name, spelling = match
    cfg = _complete(cfg, spelling)
    if spelling.restore is not None:
        cfg = spelling.restore(cfg)
    for key, (meant, _) in spelling.defaults.items():
        if key in cfg and cfg[key] == meant:
            del cfg[key]
    for key, (_, write) in spelling.converted.items():
        if key in cfg:
            cfg._put(key, convert(write(cfg[key]), cfg._path_of(key)), cfg._origins.get(key))
    cfg = rename(cfg, {new: old for old, new in spelling.renamed.items()})
    cfg._put('type', name, cfg._origins.get('type'))
    return cfg


def _find(cfg: ConfigDict, spellings: Spellings) -> tuple[str, Spelling] | None:
    """Name in 3.x and spelling of a neutral config; None if it is spelled alike."""
    kind = unscoped(cfg['type'])
    for name, spelling in spellings.items():
        if kind == (spelling.name or name) and (spelling.applies is None or spelling.applies(cfg)):
            return name, spelling
    return None


def _complete(cfg: ConfigDict, spelling: Spelling) -> ConfigDict:
    for key, (_, neutral) in spelling.defaults.items():
        if key not in cfg:
            cfg._put(key, convert(neutral, cfg._path_of(key)), None)
    return cfg


def _walk(value: object, rewrite: Rewrite) -> Any:
    """A copy in which every config, from the inside to the outside, is rewritten; other dicts are copied."""
    if isinstance(value, ConfigDict):
        new = value.copy()
        for key, item in value.items():
            dict.__setitem__(new, key, _walk(item, rewrite))
        return rewrite(new) if isinstance(new.get('type'), str) else new
    if isinstance(value, Mapping):
        return _walk(ConfigDict(value), rewrite)
    if isinstance(value, (list, tuple)):
        return type(value)(_walk(item, rewrite) for item in value)
    return value
