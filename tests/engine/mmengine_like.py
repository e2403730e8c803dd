"""Objects as mmengine pickles them into checkpoints, under the names of its classes, which are not installed."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np


class HistoryBuffer:
    """The figures of a log, and its own methods by name."""

    def __init__(self) -> None:
        self._log_history = np.arange(3.0)
        self._statistics_methods = OrderedDict(mean=HistoryBuffer.mean)

    def mean(self) -> None: ...


class ConfigDict(dict):
    def __reduce_ex__(self, protocol: Any) -> Any:
        return (type(self), (dict(self),))


_PLACES = {HistoryBuffer: 'mmengine.logging.history_buffer', ConfigDict: 'mmengine.config.config'}


@contextmanager
def importable() -> Iterator[None]:
    """Let the classes be found under mmengine's names, as pickle needs it for writing."""
    names = {'.'.join(place.split('.')[:depth]) for place in _PLACES.values() for depth in (1, 2, 3)}
    sys.modules.update({name: ModuleType(name) for name in names})
    for kind, place in _PLACES.items():
        kind.__module__ = HistoryBuffer.mean.__module__ = place
        vars(sys.modules[place])[kind.__name__] = kind
    HistoryBuffer.mean.__module__ = _PLACES[HistoryBuffer]
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


def message_hub() -> dict[str, Any]:
    return {
        'log_scalars': OrderedDict({'train/loss': HistoryBuffer()}),
        'runtime_info': OrderedDict(cfg=ConfigDict(lr=0.1, steps=[ConfigDict(type='A')]), best_score=np.float32(0.5)),
        'resumed_keys': OrderedDict(),
    }
