"""The operators, functions and methods of `.py` configs, each paid for before it runs."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from string import Formatter
from typing import Any

from mmkit.config.config_dict import ConfigDict, merge_into
from mmkit.config.interpreter.budget import MAX_BITS, Budget, Refused, checked_int

METHODS: dict[type, frozenset[str]] = {
    ConfigDict: frozenset('clear copy get items keys merge pop popitem setdefault update values'.split()),
    list: frozenset('append clear copy count extend index insert pop remove reverse sort'.split()),
    tuple: frozenset('count index'.split()),
    set: frozenset(
        'add clear copy difference discard intersection isdisjoint issubset issuperset remove union update'.split()
    ),
    str: frozenset(
        'capitalize count endswith find format index isdigit join lower lstrip partition removeprefix removesuffix '
        'replace rfind rpartition rsplit rstrip split splitlines startswith strip title upper'.split()
    ),
}
_COMPARING = frozenset('count index remove sort'.split())  # methods that compare whole values
_CONSTANT = frozenset('add append get pop popitem setdefault'.split())  # methods whose cost doesn't grow
SIMPLE = (str, int, float, bool, type(None))

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitOr: lambda left, right: _united(left, right) if isinstance(left, ConfigDict) else left | right,
    ast.BitAnd: operator.and_,
    ast.BitXor: operator.xor,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
}
_CONVERSIONS: dict[str, Callable[[Any], str]] = {'s': str, 'r': repr, 'a': ascii}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Not: operator.not_,
    ast.Invert: operator.invert,
}


def _united(left: ConfigDict, right: Any) -> ConfigDict:
    """`left | right` of plain dicts; that of ConfigDicts merges dicts in dicts."""
    if not isinstance(right, ConfigDict):
        raise TypeError(f'| needs two dicts, got a dict and {right!r}')
    united = left.copy()
    united._overlay(right)
    return united


class Operations:
    """The arithmetic of config expressions. Every method takes and returns plain values."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.functions: dict[str, Callable[..., Any]] = {
            'list': self.items,
            'tuple': lambda *values: tuple(self._optional(values)),
            'set': lambda *values: self.make_set(self._optional(values)),
            'range': range,
            'len': len,
            'str': self.text,
            'int': self._int,
            'float': float,
            'min': self._extreme(min),
            'max': self._extreme(max),
            'sum': self._sum,
            'sorted': self._sorted,
            'zip': self._zip,
            'enumerate': self._enumerate,
            'bool': bool,
            'abs': abs,
            'round': self._round,
        }

    # ------------------------------------------------------------------ operators

    def unary(self, kind: type[ast.unaryop], value: Any) -> Any:
        return _UNARY[kind](value)

    def compare(self, kind: type[ast.cmpop], left: Any, right: Any) -> bool:
        if kind not in (ast.Is, ast.IsNot):
            self.budget.spend_on(left)
            if not (isinstance(right, range) and isinstance(left, int)):
                self.budget.spend_on(right)
        return bool(_COMPARE[kind](left, right))

    def binary(self, kind: type[ast.operator], left: Any, right: Any) -> Any:
        if kind is ast.Mult:
            self._check_product(left, right)
        elif kind is ast.Add and isinstance(left, (str, list, tuple)):
            self.budget.spend(len(left) + (len(right) if isinstance(right, (str, list, tuple)) else 0))
        elif kind is ast.Mod and isinstance(left, str):
            self._check_percent(left, right)
        elif kind is ast.Pow and isinstance(left, int) and isinstance(right, int):
            if left.bit_length() * abs(right) > MAX_BITS:
                raise Refused(f'an integer of more than {MAX_BITS} bits')
        elif kind is ast.LShift and isinstance(right, int) and right > MAX_BITS:
            raise Refused(f'an integer of more than {MAX_BITS} bits')
        elif isinstance(left, (dict, set)):
            self.budget.spend(len(left) + (len(right) if isinstance(right, (dict, set)) else 0))
        if kind not in _BINARY:
            raise TypeError(f'operator {kind.__name__} is not one of a config')
        return checked_int(_BINARY[kind](left, right))

    def _check_product(self, left: Any, right: Any) -> None:
        for many, times in ((left, right), (right, left)):
            if isinstance(many, (str, list, tuple)) and isinstance(times, int):
                self.budget.spend(len(many) * max(times, 0))

    def _check_percent(self, template: str, values: Any) -> None:
        if re.search(r'%(\(|[#0\- +]*(\*|\d{4}|\d*\.(\*|\d{4})))', template):
            raise Refused('a % format by name or wider than 999')
        self.budget.spend(1000 * template.count('%') + len(template))
        self.budget.spend_on(values)

    # ------------------------------------------------------------------ containers

    def items(self, *values: Any) -> list[Any]:
        """list(): the items of an iterable, paid for one by one."""
        return list(self._optional(values))

    def _optional(self, values: tuple[Any, ...]) -> Any:
        if not values:
            return ()
        (value,) = values
        if isinstance(value, range) and value:
            self.budget.spend((value[-1] - value[0]) // value.step + 1)
        elif not isinstance(value, range):
            self.budget.spend(len(value))
        return value

    def make_set(self, values: Any) -> set[Any]:
        self.budget.spend_on(values)
        return set(values)

    def get(self, container: Any, index: Any) -> Any:
        if type(container) not in (ConfigDict, list, tuple, str, range):
            raise TypeError(f'{type(container).__name__} has no items by index')
        if isinstance(index, slice) and not isinstance(container, range):
            self.budget.spend(len(container))
        self.budget.spend_on(index)
        return container[index]

    # ------------------------------------------------------------------ functions

    def _int(self, value: Any = 0, *base: int) -> int:
        self.budget.spend_on(value)
        return int(checked_int(int(value, *base)))

    def _extreme(self, choose: Callable[..., Any]) -> Callable[..., Any]:
        def extreme(*values: Any, **default: Any) -> Any:
            self.budget.spend_on(values)
            return choose(*values, **default)

        return extreme

    def _sum(self, values: Any, start: Any = 0) -> Any:
        total = start
        for value in self.items(values):
            total = self.binary(ast.Add, total, value)
        return total

    def _sorted(self, values: Any, reverse: bool = False) -> list[Any]:
        self.budget.spend_on(values)
        return sorted(values, reverse=reverse)

    def _zip(self, *values: Any) -> list[tuple[Any, ...]]:
        return list(zip(*[self.items(value) for value in values], strict=False))

    def _enumerate(self, values: Any, start: int = 0) -> list[tuple[int, Any]]:
        return list(enumerate(self.items(values), start))

    def _round(self, value: Any, digits: int | None = None) -> Any:
        if digits is not None and abs(digits) > 1000:
            raise Refused('round() to more than 1000 digits')
        return round(value, digits)

    # ------------------------------------------------------------------ text

    def text(self, *values: Any) -> str:
        self.budget.spend_on(values)
        return str(*values)

    def formatted(self, value: Any, spec: str = '', conversion: str | None = None) -> str:
        """One replacement field of an f-string or of str.format()."""
        self.budget.spend_on(value)
        if conversion is not None:
            value = _CONVERSIONS[conversion](value)
        if re.search(r'\d{4}', spec):
            raise Refused('a format wider than 999')
        self.budget.spend(1000 if spec else 0)
        if spec and not isinstance(value, SIMPLE):
            raise TypeError(f'a format for {type(value).__name__}')
        return format(value, spec)

    def method(self, value: Any, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """`value.name(*args, **kwargs)` for a name of METHODS."""
        if isinstance(value, str):
            self.budget.spend(len(value))
            if name == 'format':
                return _SafeFormatter(self).vformat(value, args, kwargs)
            if name == 'join':
                args = [self.items(*args)]
                self.budget.spend(sum(len(part) + len(value) for part in args[0]))
            elif name == 'replace' and len(args) > 1:
                self.budget.spend((len(value) + 1) * len(args[1]))
        elif name in _COMPARING:
            self.budget.spend_on(value)
        elif name not in _CONSTANT:
            self.budget.spend(len(value))
        self.budget.spend_on(args)
        if name == 'pop' and isinstance(value, ConfigDict) and len(args) == 1:
            self.get(value, *args)  # the error for a missing key has the nearest
        outcome = getattr(value, name)(*args, **kwargs)
        return list(outcome) if name in ('keys', 'values', 'items') else outcome

    def update(self, owner: ConfigDict, method: str, new: ConfigDict) -> None:
        """`owner.update(new)` or `owner.merge(new)`.

        A dict that the config itself writes is Python's. One of a base is a ConfigDict, whose `update` merges dicts in
        dicts; only these have a path.
        """
        self.budget.spend_on(new)
        if method == 'merge' or owner._path:
            merge_into(owner, new)
        else:
            owner._overlay(new)


class _SafeFormatter(Formatter):
    """str.format() without attributes: `'{0.__class__}'` reaches into Python."""

    def __init__(self, operations: Operations) -> None:
        self.operations = operations

    def get_field(self, field_name: str, args: Any, kwargs: Mapping[str, Any]) -> Any:
        if '.' in field_name:
            raise Refused(f'attribute access in the format field {field_name!r}')
        return super().get_field(field_name, args, kwargs)

    def convert_field(self, value: Any, conversion: Any) -> Any:
        return value if conversion is None else self.operations.formatted(value, '', conversion)

    def format_field(self, value: Any, format_spec: str) -> Any:
        return self.operations.formatted(value, format_spec)
