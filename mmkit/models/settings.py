"""`train_cfg` and `test_cfg` of heads."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

# What mmdetection's configs carry along although it does nothing.
IDLE = {'debug'}


def warn_unknown_settings(cfg: Mapping[str, Any], known: Iterable[str], name: str) -> None:
    """Warn of keys in `cfg`, which a config calls `name`, that nothing reads: most of them are misspelt."""
    unread = sorted(set(cfg) - set(known) - IDLE)
    if unread:
        warnings.warn(f'nothing reads the {name} keys {unread}; known are {sorted(known)}', stacklevel=4)
