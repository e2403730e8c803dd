"""Names of types: those of other projects, and the nearest right ones for messages about wrong ones."""

from __future__ import annotations

from collections.abc import Iterable

# Projects whose types are here under the same names: a config may write 'mmcls.TIMMBackbone'.
SCOPES = ('mmdet', 'mmcls', 'mmcv')


def unscoped(name: str) -> str:
    """The name without the project in front of it; every other dotted path stays what it is."""
    scope, _, rest = name.partition('.')
    return rest if scope in SCOPES and rest and '.' not in rest else name


def nearest(name: object, names: Iterable[object], count: int = 3) -> list[str]:
    """At most `count` of `names` that look like `name`, the most alike first; letter case is ignored."""
    from difflib import get_close_matches  # only errors need it

    by_lower: dict[str, str] = {}
    for candidate in names:
        by_lower.setdefault(str(candidate).lower(), str(candidate))
    return [by_lower[found] for found in get_close_matches(str(name).lower(), by_lower, count, cutoff=0.5)]
