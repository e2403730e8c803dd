"""Evaluation of the expressions of a `.py` config."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

from mmkit.config.config_dict import ConfigDict, Origin
from mmkit.config.interpreter.budget import Budget
from mmkit.config.interpreter.operations import METHODS, Operations
from mmkit.config.interpreter.variables import Variables, type_name
from mmkit.config.source import Bases, Source, fill_refs
from mmkit.errors import ConfigError, UnsafeConfigError

WAY_OUT = (
    'Reading a config runs none of its code. If you trust this file, Config.fromfile(path, trust=True) or '
    '--trust-config runs it as Python.'
)
_CONVERSIONS = {115: 's', 114: 'r', 97: 'a'}


class Expressions:
    """The values of syntax trees, and the names they are given.

    Each kind of node has its method, `value_BinOp` for ast.BinOp; a kind without one is refused.

    Args:
        source: the file.
        bases: are read as soon as the file names them.
        budget: the work that this config and its bases may cause.
    """

    def __init__(self, source: Source, bases: Bases, budget: Budget) -> None:
        self.source = source
        self.bases = bases
        self.budget = budget
        self.operations = Operations(self.budget)
        self.variables = Variables()
        self.line = 0

    def refusal(self, reason: str, node: ast.AST | None = None) -> UnsafeConfigError:
        line = getattr(node, 'lineno', self.line)
        return UnsafeConfigError(f'{self.source.at(line)}\n  {reason}. {WAY_OUT}')

    # ------------------------------------------------------------------ names and targets

    def of_bases(self, key: str) -> Any:
        """The value of a dotted key of the bases."""
        try:
            value = self.bases.base_value(key)
        except ConfigError as error:
            raise ConfigError(f'{self.source.at(self.line)}\n  {error}') from None
        self.budget.spend_on(value)
        return value

    def assign(self, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Name):
            if self.variables.scopes:
                self.variables.scopes[-1][target.id] = value
                return
            if target.id == '_base_':
                value = self.bases.load_bases(value, target.lineno)
            self.variables.own._put(target.id, value, Origin(self.source.file, target.lineno))
        elif isinstance(target, (ast.Subscript, ast.Attribute)):
            self.put_item(*self.place(target), value, target.lineno)
        elif isinstance(target, (ast.Tuple, ast.List)):
            self.unpack(target.elts, self.operations.items(value))
        else:
            raise self.refusal('only names and items can be assigned to', target)

    def place(self, target: ast.Subscript | ast.Attribute) -> tuple[Any, Any]:
        """The container and the key of an item: `container[key]`, of a dict also `container.key`."""
        container = self.value(target.value)
        if isinstance(target, ast.Subscript):
            return container, self.value(target.slice)
        is_hidden = target.attr.startswith('__') or hasattr(ConfigDict, target.attr)
        if is_hidden or not isinstance(container, ConfigDict):
            raise self.refusal(f'attribute {target.attr!r} of {type(container).__name__} is out of reach', target)
        return container, target.attr

    def unpack(self, targets: list[ast.expr], values: list[Any]) -> None:
        stars = [index for index, target in enumerate(targets) if isinstance(target, ast.Starred)]
        if stars:
            first, extra = stars[0], len(values) - len(targets) + 1
            if extra < 0:
                raise ValueError(f'{len(values)} values for at least {len(targets) - 1} names')
            values = [*values[:first], values[first : first + extra], *values[first + extra :]]
        if len(values) != len(targets):
            raise ValueError(f'{len(values)} values for {len(targets)} names')
        for target, value in zip(targets, values, strict=True):
            self.assign(target.value if isinstance(target, ast.Starred) else target, value)

    def put_item(self, container: Any, index: Any, value: Any, line: int) -> None:
        self.budget.spend_on(index)
        if isinstance(container, ConfigDict):
            container._put(index, value, Origin(self.source.file, line))
        elif type(container) is list:
            container[index] = self.operations.items(value) if isinstance(index, slice) else value
        else:
            raise TypeError(f'items of {type(container).__name__} cannot be set')

    # ------------------------------------------------------------------ expressions

    def value(self, node: ast.expr) -> Any:
        self.line = node.lineno
        self.budget.spend(1)
        handler = getattr(self, f'value_{type(node).__name__}', None)
        if handler is None:
            raise self.refusal(f'a config has no {described(node)}', node)
        return handler(node)

    def value_Constant(self, node: ast.Constant) -> Any:
        value = node.value
        if isinstance(value, str):
            return fill_refs(value, self.source.refs, self.of_bases) if self.source.refs else value
        if value is None or isinstance(value, (bool, int, float)):
            return value
        raise self.refusal(f'{value!r} is not a value of a config', node)

    def value_Name(self, node: ast.Name) -> Any:
        if node.id in self.source.refs:
            return self.of_bases(self.source.refs[node.id])
        path = self.variables.path_of(node)
        return self.variables.look_up(node.id) if path is None else self.type_name(path)

    def type_name(self, path: str) -> str:
        self.budget.spend(len(path))
        return type_name(path)

    def value_List(self, node: ast.List) -> list[Any]:
        return self.sequence(node.elts)

    def value_Tuple(self, node: ast.Tuple) -> tuple[Any, ...]:
        return tuple(self.sequence(node.elts))

    def value_Set(self, node: ast.Set) -> set[Any]:
        return self.operations.make_set(self.sequence(node.elts))

    def sequence(self, nodes: Sequence[ast.expr]) -> list[Any]:
        values: list[Any] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                values.extend(self.operations.items(self.value(node.value)))
            else:
                values.append(self.value(node))
        return values

    def value_Dict(self, node: ast.Dict) -> ConfigDict:
        made = ConfigDict()
        for key, item in zip(node.keys, node.values, strict=True):
            if key is None:
                self.spread(made, item)
            else:
                self.put_item(made, self.value(key), self.value(item), key.lineno)
        return made

    def spread(self, made: ConfigDict, node: ast.expr) -> None:
        """`**node` inside a dict."""
        value = self.value(node)
        if not isinstance(value, ConfigDict):
            raise TypeError(f'** needs a dict, got {type(value).__name__}')
        self.budget.spend(len(value))
        made._overlay(value)

    def make_dict(self, args: Sequence[Any], keywords: Sequence[ast.keyword]) -> ConfigDict:
        """`dict(...)`."""
        self.budget.spend_on(args)
        made = ConfigDict()
        for items in args:
            made._overlay(items if isinstance(items, ConfigDict) else dict(items))
        for keyword in keywords:
            if keyword.arg is None:
                self.spread(made, keyword.value)
            else:
                made._put(keyword.arg, self.value(keyword.value), Origin(self.source.file, keyword.lineno))
        return made

    def value_UnaryOp(self, node: ast.UnaryOp) -> Any:
        return self.operations.unary(type(node.op), self.value(node.operand))

    def value_BinOp(self, node: ast.BinOp) -> Any:
        return self.operations.binary(type(node.op), self.value(node.left), self.value(node.right))

    def value_BoolOp(self, node: ast.BoolOp) -> Any:
        value = None
        for part in node.values:
            value = self.value(part)
            if bool(value) is isinstance(node.op, ast.Or):
                break
        return value

    def value_Compare(self, node: ast.Compare) -> bool:
        left = self.value(node.left)
        for op, right_node in zip(node.ops, node.comparators, strict=True):
            right = self.value(right_node)
            if not self.operations.compare(type(op), left, right):
                return False
            left = right
        return True

    def value_IfExp(self, node: ast.IfExp) -> Any:
        return self.value(node.body if self.value(node.test) else node.orelse)

    def value_Subscript(self, node: ast.Subscript) -> Any:
        return self.operations.get(self.value(node.value), self.value(node.slice))

    def value_Slice(self, node: ast.Slice) -> slice:
        return slice(*(None if part is None else self.value(part) for part in (node.lower, node.upper, node.step)))

    def value_JoinedStr(self, node: ast.JoinedStr) -> str:
        text = ''.join(str(self.value(part)) for part in node.values)
        self.budget.spend(len(text))
        return text

    def value_FormattedValue(self, node: ast.FormattedValue) -> str:
        spec = '' if node.format_spec is None else self.value(node.format_spec)
        return self.operations.formatted(self.value(node.value), spec, _CONVERSIONS.get(node.conversion))

    # ------------------------------------------------------------------ comprehensions

    def value_ListComp(self, node: ast.ListComp | ast.GeneratorExp | ast.SetComp) -> list[Any]:
        return [self.value(node.elt) for _ in self.loop(node.generators)]

    value_GeneratorExp = value_ListComp

    def value_SetComp(self, node: ast.SetComp) -> set[Any]:
        return self.operations.make_set(self.value_ListComp(node))

    def value_DictComp(self, node: ast.DictComp) -> ConfigDict:
        made = ConfigDict()
        for _ in self.loop(node.generators):
            self.put_item(made, self.value(node.key), self.value(node.value), node.key.lineno)
        return made

    def loop(self, generators: Sequence[ast.comprehension]) -> Iterator[None]:
        """One pass for each round of the `for` and `if` of a comprehension, with its names set."""
        if not generators:
            yield
            return
        first, rest = generators[0], generators[1:]
        if first.is_async:
            raise self.refusal('a config has no async')
        items = self.operations.items(self.value(first.iter))
        self.variables.scopes.append({})
        for item in items:
            self.assign(first.target, item)
            if all(self.value(test) for test in first.ifs):
                yield from self.loop(rest)
        self.variables.scopes.pop()

    # ------------------------------------------------------------------ calls and attributes

    def value_Attribute(self, node: ast.Attribute) -> Any:
        path = self.variables.path_of(node)
        if path is not None:
            return self.type_name(path)
        owner, key = self.place(node)
        return owner[key]

    def value_Call(self, node: ast.Call) -> Any:
        func = node.func
        if isinstance(func, ast.Name):
            return self.call_function(node, func.id)
        if not isinstance(func, ast.Attribute):
            raise self.refusal('only functions by name and methods are called', node)
        if func.attr == 'deepcopy' and isinstance(func.value, ast.Name) and func.value.id == 'copy':
            return self.call_function(node, 'deepcopy')
        owner = self.value(func.value)
        if func.attr not in METHODS.get(type(owner), ()):
            raise self.refusal(f'method {func.attr!r} of {type(owner).__name__} is out of reach', node)
        args = self.sequence(node.args)
        if isinstance(owner, ConfigDict) and func.attr in ('update', 'merge'):
            return self.operations.update(owner, func.attr, self.make_dict(args, node.keywords))
        return self.operations.method(owner, func.attr, args, self.make_dict((), node.keywords))

    def call_function(self, node: ast.Call, name: str) -> Any:
        if name not in ('dict', 'deepcopy') and name not in self.operations.functions:
            hint = f', write dict(type={name}, ...)' if name in self.variables.imported else ''
            raise self.refusal(f'a config cannot call {name!r}{hint}', node)
        args = self.sequence(node.args)
        if name == 'dict':
            return self.make_dict(args, node.keywords)
        if name == 'deepcopy':
            (value,) = args
            self.budget.spend_on(value)
            return deepcopy(value)
        return self.operations.functions[name](*args, **self.make_dict((), node.keywords))


def described(node: ast.AST) -> str:
    words = {
        'FunctionDef': 'def',
        'AsyncFunctionDef': 'async def',
        'ClassDef': 'class',
        'NamedExpr': 'assignment inside an expression (:=)',
    }
    return words.get(type(node).__name__, f'{type(node).__name__.lower()}')
