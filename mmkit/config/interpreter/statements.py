"""Execution of the statements of a `.py` config: no kind of statement but those named here."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from mmkit.config.config_dict import ConfigDict, Origin
from mmkit.config.interpreter.budget import Refused
from mmkit.config.interpreter.expressions import Expressions, described
from mmkit.errors import ConfigError


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class Interpreter(Expressions):
    """Runs the statements of one config file.

    Each kind has its method, `run_For` for ast.For; a kind without one is refused.

    Raises:
        UnsafeConfigError: for whatever a config may not do.
        ConfigError: for a config that is wrong, such as an unknown name.
    """

    def run(self, body: Sequence[ast.stmt]) -> ConfigDict:
        """The variables that the statements leave, with the line of each key."""
        try:
            self.execute(body)
            self.budget.spend_on(self.variables.own)
        except (ConfigError, OSError):  # OSError: of a base
            raise
        except Refused as error:
            raise self.refusal(str(error)) from None
        except RecursionError:
            raise self.refusal('this is nested too deeply') from None
        except (_Break, _Continue):
            raise ConfigError(f'{self.source.at(self.line)}\n  break or continue outside a loop') from None
        except Exception as error:
            reason = error.args[0] if isinstance(error, KeyError) and error.args else error
            raise ConfigError(f'{self.source.at(self.line)}\n  {type(error).__name__}: {reason}') from error
        return self.variables.own

    # ------------------------------------------------------------------ statements

    def execute(self, body: Sequence[ast.stmt]) -> None:
        for node in body:
            self.line = node.lineno
            self.budget.spend(1)
            handler = getattr(self, f'run_{type(node).__name__}', None)
            if handler is None:
                raise self.refusal(f'a config has no {described(node)}', node)
            handler(node)

    def run_Expr(self, node: ast.Expr) -> None:
        self.value(node.value)

    def run_Pass(self, node: ast.Pass) -> None:
        pass

    def run_Assign(self, node: ast.Assign) -> None:
        value = self.value(node.value)
        for target in node.targets:
            self.assign(target, value)

    def run_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.assign(node.target, self.value(node.value))

    def run_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, (ast.Subscript, ast.Attribute)):
            container, key = self.place(node.target)
            old = self.operations.get(container, key)
            self.put_item(container, key, self.augmented(node.op, old, self.value(node.value)), node.lineno)
        else:
            old = self.value(node.target)
            self.assign(node.target, self.augmented(node.op, old, self.value(node.value)))

    def augmented(self, op: ast.operator, old: Any, value: Any) -> Any:
        """`old op= value`: lists and dicts grow in place, as in Python."""
        if isinstance(old, list) and isinstance(op, ast.Add):
            old.extend(self.operations.items(value))
            return old
        if isinstance(old, ConfigDict) and isinstance(op, ast.BitOr):
            self.budget.spend_on(value)
            old._overlay(self.make_dict([value], ()))
            return old
        return self.operations.binary(type(op), old, value)

    def run_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name):
                self.variables.delete(target.id)
            elif isinstance(target, (ast.Subscript, ast.Attribute)):
                container, key = self.place(target)
                self.operations.get(container, key)
                del container[key]
            else:
                raise self.refusal('only names and items can be deleted', node)

    def run_If(self, node: ast.If) -> None:
        self.execute(node.body if self.value(node.test) else node.orelse)

    def run_For(self, node: ast.For) -> None:
        for item in self.operations.items(self.value(node.iter)):
            self.assign(node.target, item)
            try:
                self.execute(node.body)
            except _Break:
                return
            except _Continue:
                continue
        self.execute(node.orelse)

    def run_Break(self, node: ast.Break) -> None:
        raise _Break

    def run_Continue(self, node: ast.Continue) -> None:
        raise _Continue

    # ------------------------------------------------------------------ imports

    def run_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if (alias.name, alias.asname) != ('copy', None):
                self.variables.import_module(alias)

    def run_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level:
            raise ConfigError(f'{self.source.at(node.lineno)}\n  a base is imported inside `with read_base():`')
        for alias in node.names:
            if (node.module, alias.name, alias.asname) != ('copy', 'deepcopy', None):
                self.variables.import_type(str(node.module), alias, Origin(self.source.file, node.lineno))

    def run_With(self, node: ast.With) -> None:
        """`with read_base():` and imports of bases, whose keys become variables."""
        match node.items:
            case [ast.withitem(ast.Call(function, args=[], keywords=[]), None)]:
                path = self.variables.path_of(function)
            case _:
                path = None
        if path not in ('mmengine.config.read_base', 'mmengine.read_base'):
            raise self.refusal(
                'a config has no with but `with read_base():` (from mmengine.config import read_base)', node
            )
        for statement in node.body:
            if not isinstance(statement, ast.ImportFrom):
                raise self.refusal('inside `with read_base():` are imports, `from .file import *`', statement)
            self.line = statement.lineno
            self.budget.spend(1)
            module = '.' * statement.level + (statement.module or '')
            base = self.bases.load_module(module, statement.lineno)
            for alias in statement.names:
                self.variables.import_values(base, module, alias)
