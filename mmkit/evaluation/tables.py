"""Plain-text tables for the log."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from terminaltables import AsciiTable


def format_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An ASCII table; the first column is a name, numbers are already text."""
    table = AsciiTable([list(headers), *(list(row) for row in rows)])
    table.inner_footing_row_border = bool(rows) and rows[-1][0] == 'mean'
    return str(table.table)


def format_pairs(pairs: Sequence[tuple[str, str]], headers: tuple[str, str], num_pairs: int = 3) -> str:
    """Many short (name, value) pairs, `num_pairs` of them side by side so that eighty classes fit on a screen."""
    num_pairs = max(1, min(num_pairs, len(pairs)))
    rows = [pairs[start : start + num_pairs] for start in range(0, len(pairs), num_pairs)]
    filled = [[cell for pair in zip_longest(row, range(num_pairs)) for cell in (pair[0] or ('', ''))] for row in rows]
    return format_table(list(headers) * num_pairs, filled)
