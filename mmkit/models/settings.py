"""Typed settings from the `train_cfg` and `test_cfg` of heads and detectors."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable
from dataclasses import MISSING, fields
from typing import Any, TypeVar

from mmkit.config import ConfigDict
from mmkit.config.explain import spelled_number
from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.protocols import Assigner
from mmkit.registry import BBOX_ASSIGNERS, Cfg
from mmkit.utils.names import suggestion

Settings = TypeVar('Settings')

# Set by mmdetection's configs, without effect there either.
IDLE = {'debug'}


def known_settings(cfg: Cfg, settings: type, name: str) -> dict[str, Any]:
    """Entries of `cfg`, called `name` in a config, that are fields of the dataclass `settings`. Warns of others.

    Raises:
        InvalidValueError: if a field without a default is missing.
        InvalidTypeError: if a text stands for a number.
    """
    known = [each.name for each in fields(settings)]
    warn_unknown_settings(cfg, known, name, stacklevel=5)
    for each in fields(settings):
        if each.default is MISSING and each.default_factory is MISSING and each.name not in cfg:
            raise InvalidValueError(f'{name} needs {each.name!r}, it has {", ".join(cfg) or "nothing"}', key=each.name)
    given = {key: cfg[key] for key in known if key in cfg}
    for key, value in given.items():
        number = spelled_number(value)
        if number is not None:
            raise InvalidTypeError(f'{name}.{key} is the text {value!r}, a number is meant: write {number!r}', key)
    return given


def warn_unknown_settings(cfg: Cfg, known: Iterable[str], name: str, stacklevel: int = 4) -> None:
    """Warn of keys in `cfg`, called `name` in a config, that have no effect: most of them are misspelt."""
    unread = sorted(set(cfg) - set(known) - IDLE)
    if unread:
        hint = suggestion(unread[0], known)
        where = f' [{", ".join(cfg._locate(key) for key in unread)}]' if isinstance(cfg, ConfigDict) else ''
        message = f'nothing reads the {name} keys {unread}{hint}; known are {sorted(known)}{where}'
        warnings.warn(message, stacklevel=stacklevel)


def required(settings: Settings | None, name: str, owner: object) -> Settings:
    """The settings of `owner` that its config calls `name`.

    Raises:
        InvalidValueError: if `owner` was built without them.
    """
    if settings is None:
        raise InvalidValueError(f'this needs {name}, and {type(owner).__name__} was built without it', key=name)
    return settings


def build_assigner(cfg: Cfg, head: str, known: Collection[str] = ()) -> Assigner:
    """Assigner of the head of this name.

    Args:
        known: the fields of `PriorInfo` that the head fills in.

    Raises:
        InvalidTypeError: if the assigner needs others, or does not say what it needs.
    """
    assigner = BBOX_ASSIGNERS.build(cfg)
    kind = type(assigner).__name__
    if not isinstance(assigner, Assigner):
        raise InvalidTypeError(f'{kind} must say what it `needs`: derive it from BaseAssigner', key='assigner')
    missing = set(assigner.needs) - set(known)
    if missing:
        raise InvalidTypeError(
            f'{head} cannot train with {kind}, which needs {", ".join(sorted(missing))}: '
            f'the head knows {", ".join(["boxes", *sorted(known)])}',
            key='assigner',
        )
    return assigner
