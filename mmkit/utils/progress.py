"""Progress bars."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar('T')


def track(iterable: Iterable[T] | None = None, total: int | None = None, desc: str = '', **options: Any) -> tqdm[T]:
    """A progress bar with the remaining time on stderr, around an iterable or moved by `update`.

    Only the first process shows it. Where stderr is no terminal, it writes a line twice a minute.

    Args:
        iterable: the items.
        total: their number, if `iterable` has no length.
        desc: text before the bar.
        options: further arguments of tqdm.
    """
    return tqdm(
        iterable,
        total=total,
        desc=desc,
        disable=os.environ.get('RANK', '0') != '0',
        mininterval=0.1 if sys.stderr.isatty() else 30,
        dynamic_ncols=True,
        **options,
    )
