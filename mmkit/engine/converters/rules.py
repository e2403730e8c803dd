"""Renaming tensors by a table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from mmkit.errors import InvalidValueError
from mmkit.utils.names import first_of

Rules = Sequence[tuple[str, str | None]]
"""Pairs of a regular expression, matched at the start of a name, and its replacement; None leaves the tensor out."""


@dataclass
class Conversion:
    """Tensors of a file under their new names.

    Attributes:
        state_dict: tensors by new name.
        renamed: new name to old.
        dropped: old names that have no counterpart by design, such as the classifier of a backbone.
        unknown: old names that no rule speaks of.
    """

    state_dict: dict[str, Tensor] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        text = f'{len(self.renamed)} tensors renamed, {len(self.dropped)} left out, {len(self.unknown)} unknown'
        for title, names in (('left out', self.dropped), ('unknown', self.unknown)):
            if names:
                text += f'\n  {title}: {first_of(names, 8)}'
        return text


def rename(state_dict: Mapping[str, Tensor], rules: Rules, parts: Rules = ()) -> Conversion:
    """Give tensors new names.

    Args:
        rules: the first that matches the start of a name decides about it.
        parts: then all of these are replaced, wherever they stand in the new name.

    Raises:
        InvalidValueError: two tensors get one name.
    """
    conversion = Conversion()
    for name, tensor in state_dict.items():
        rule = next(((pattern, new) for pattern, new in rules if re.match(pattern, name)), None)
        if rule is None:
            conversion.unknown.append(name)
            continue
        if rule[1] is None:
            conversion.dropped.append(name)
            continue
        new = re.sub(rule[0], rule[1], name, count=1)
        for pattern, replacement in parts:
            new = re.sub(pattern, replacement or '', new)
        if new in conversion.state_dict:
            raise InvalidValueError(f'{name} and {conversion.renamed[new]} would both be called {new}')
        conversion.state_dict[new] = tensor
        conversion.renamed[new] = name
    return conversion
