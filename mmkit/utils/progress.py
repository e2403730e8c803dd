"""Progress bars with the remaining time."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def track(iterable: Iterable[Any] | None = None, total: int | None = None, desc: str = '', **options: Any) -> tqdm[Any]:
    """A bar on stderr around an iterable, or one that is moved by `update`.

    Only the first process shows it. In a log file, where a bar cannot move, it writes a line twice a minute.

    Args:
        iterable: what to walk over.
        total: how many there are, if `iterable` has no length.
        desc: what is being done.
        options: of tqdm.
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
