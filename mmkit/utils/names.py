"""The nearest right names, for messages about wrong ones."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: object, names: Iterable[object], count: int = 3) -> list[str]:
    """At most `count` of `names` that look like `name`, the most alike first; letter case is ignored."""
    from difflib import get_close_matches  # only errors need it

    by_lower: dict[str, str] = {}
    for candidate in names:
        by_lower.setdefault(str(candidate).lower(), str(candidate))
    return [by_lower[found] for found in get_close_matches(str(name).lower(), by_lower, count, cutoff=0.5)]
