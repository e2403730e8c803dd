"""Sections of a config, and errors that name where a value was written."""

from __future__ import annotations

import logging
from collections.abc import Collection

from mmkit.config import Config, ConfigDict, Origin
from mmkit.config.explain import spelled_number, texts_for_numbers
from mmkit.config.modify import find
from mmkit.errors import InvalidTypeError, InvalidValueError, UserError
from mmkit.utils.names import nearest

LOG_LEVELS = ('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL')


def read_section(cfg: ConfigDict, key: str) -> ConfigDict | None:
    """A copy of `cfg[key]`, which may be changed; None if it is not there.

    Raises:
        InvalidTypeError: it is no dict.
    """
    value = cfg.get(key)
    if value is None:
        return None
    if not isinstance(value, ConfigDict):
        raise wrong(cfg, key, f'{key} is a {type(value).__name__}, expected a dict', InvalidTypeError)
    return value.copy()


def check_numbers(section: ConfigDict | None) -> ConfigDict | None:
    """Check the numbers of a section, and return it.

    Raises:
        InvalidTypeError: one of its numbers is written as a text.
    """
    for leaf in texts_for_numbers(section or ConfigDict()):
        message = f'{leaf.path} is the text {leaf.value!r}, a number is meant: write {spelled_number(leaf.value)!r}'
        raise InvalidTypeError(message, leaf.path, leaf.origin)
    return section


def require_whole(cfg: ConfigDict, path: str, value: object, least: int = 1) -> int:
    """The value at a dotted key.

    Raises:
        InvalidValueError: it is no whole number of at least `least`.
    """
    if not isinstance(value, int) or value < least:
        raise wrong(cfg, path, f'{path} is {value!r}, expected a whole number of at least {least}')
    return value


def check_keys(cfg: ConfigDict, path: str, section: Collection[str], known: Collection[str]) -> None:
    """Refuse keys of the section at a dotted key that are not known; `_scope_`, which means nothing here, may be there.

    Raises:
        InvalidTypeError: naming the nearest known key.
    """
    for key in section:
        if key not in known and key != '_scope_':
            near = nearest(key, known, 1)
            hint = f'the nearest is {near[0]!r}' if near else f'expected some of {", ".join(known)}'
            raise wrong(cfg, f'{path}.{key}', f'{path} has no {key!r}; {hint}', InvalidTypeError)


def read_seed(cfg: ConfigDict, path: str, seed: object) -> int | None:
    """The seed at a dotted key; an InvalidValueError unless it is None or a whole number of at least 0."""
    if seed is not None and (not isinstance(seed, int) or seed < 0):
        raise wrong(cfg, path, f'{path} is {seed!r}, expected a whole number of at least 0')
    return seed


def read_log_level(cfg: ConfigDict) -> str:
    """The name of `log_level`, 'INFO' by default; an InvalidValueError if there is no such level."""
    level = cfg.get('log_level') or 'INFO'
    level = logging.getLevelName(level) if isinstance(level, int) else level
    if level not in LOG_LEVELS:
        raise wrong(cfg, 'log_level', f'log_level is {level!r}, expected one of {", ".join(LOG_LEVELS)}')
    return str(level)


def read_lr_scaling(cfg: ConfigDict) -> tuple[int | None, bool]:
    """`auto_scale_lr`: images for which the learning rate was chosen, and whether to scale it.

    Raises:
        UserError: for an unknown key, or a number that makes no sense or is missing.
    """
    scale = read_section(cfg, 'auto_scale_lr') or ConfigDict()
    check_keys(cfg, 'auto_scale_lr', scale, ('enable', 'base_batch_size'))
    is_enabled = bool(scale.get('enable', False))
    if not is_enabled and scale.get('base_batch_size') is None:
        return None, False
    return require_whole(cfg, 'auto_scale_lr.base_batch_size', scale.get('base_batch_size')), is_enabled


def without_keys(section: ConfigDict, keys: Collection[str]) -> ConfigDict:
    """A copy of the section that lacks these keys."""
    kept = section.copy()
    for key in keys:
        kept.pop(key, None)
    return kept


def wrong(cfg: ConfigDict, path: str, message: str, kind: type[UserError] = InvalidValueError) -> UserError:
    """An error about the value at a dotted key."""
    return kind(message, path, find_origin(cfg, path))


def find_origin(cfg: ConfigDict, path: str) -> Origin | None:
    """Place where the value at a dotted key was written; of a key that is not there, that of the dict around it."""
    while path:
        try:
            owner, key = find(cfg, path)
        except (KeyError, IndexError, TypeError):
            path = path.rpartition('.')[0]
            continue
        return owner._origins.get(key) if isinstance(owner, ConfigDict) else None
    return None


def file_of(cfg: ConfigDict) -> str:
    """' (in a.py)' for messages about a whole config; '' of one that comes from no file."""
    return f' (in {cfg.filename})' if isinstance(cfg, Config) and cfg.filename else ''
