"""Reads a config file and its bases into one dict."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mmkit.config.bases import base_path, mark_scope, module_path, near_path, scope_of
from mmkit.config.config_dict import ConfigDict, Origin, merge, untangle
from mmkit.config.formats import fill, read_json, read_yaml, run_python
from mmkit.config.interpreter import Budget, Interpreter, Refused
from mmkit.config.source import Loaded, Source
from mmkit.errors import ConfigError, MissingFileError, UnsafeConfigError
from mmkit.utils.names import nearest

SUFFIXES = ('.py', '.yaml', '.yml', '.json')
WORK_OF_A_FILE = 1000  # a config has 1000 files at most
_BASE_REF = re.compile(r'\{\{\s*_base_\.([\w.]+)\s*\}\}')
_ENVIRONMENT_VARIABLE = re.compile(r'\{\{[\'"]?\s*\$\s*(\w+)\s*:\s*(\S*?)\s*[\'"]?\s*\}\}')
_FILE_VARIABLE = re.compile(r'\{\{\s*(fileDirname|fileBasename|fileBasenameNoExtension|fileExtname)\s*\}\}')


def shown(path: str) -> str:
    """A path for messages: relative to the working directory if it lies below."""
    relative = os.path.relpath(path)
    return path if relative.startswith(os.pardir) else relative


def load(filename: str, trust: bool = False, text: str | None = None) -> Loaded:
    """Read a config.

    Args:
        filename: a `.py`, `.yaml`, `.yml` or `.json` file; bases and file variables are relative to it.
        trust: run `.py` files that need it as Python.
        text: read this instead of the file.

    Raises:
        MissingFileError: the file or a base doesn't exist.
        ConfigError: the config is wrong, or (UnsafeConfigError) does what a config may not.
    """
    return _File(os.path.abspath(filename), trust, (), Budget()).load(text)


class _File:
    """One file of a chain of bases.

    Args:
        path: the file.
        trust: run it as Python if need be.
        chain: the files that led to it, from the one that was asked for on.
        budget: of the whole chain.
        named_at: file and line of the config whose base it is.
    """

    def __init__(self, path: str, trust: bool, chain: Sequence[str], budget: Budget, named_at: str = '') -> None:
        self.path = path
        self.file = shown(path)
        self.trust = trust
        self.chain = (*chain, path)
        self.budget = budget
        self.named_at = f' (a base at {named_at})' if named_at else ''
        self.bases: ConfigDict | None = None  # of `_base_`
        self.imported: Mapping[str, str] = {}  # see Loaded
        self.modules: dict[str, Origin] = {}
        self.texts: list[str] = []  # of the bases

    def load(self, text: str | None = None) -> Loaded:
        suffix = os.path.splitext(self.path)[1]
        if suffix not in SUFFIXES:
            hint = '' if os.path.exists(self.path) else f'; {near_path(self.path)}'
            raise ConfigError(f'{self.file}: a config ends in one of {", ".join(SUFFIXES)}{self.named_at}{hint}')
        self.budget.spend(WORK_OF_A_FILE)
        if text is None:
            text = self.read_text()
        source = self.prepare(text)
        values = self.evaluate(source) if suffix == '.py' else self.parse(source, suffix)
        values.pop('_base_', None)
        values = merge(self.bases if self.bases is not None else ConfigDict(), values)
        return Loaded(values, '\n'.join([*self.texts, f'# {self.file}\n{text}']), self.imported, self.modules)

    def read_text(self) -> str:
        try:
            with open(self.path, encoding='utf-8') as file:
                return file.read()
        except FileNotFoundError:
            hint = near_path(self.path)
            raise MissingFileError(f'config file {self.file} does not exist{self.named_at}; {hint}') from None
        except UnicodeDecodeError as error:
            raise ConfigError(f'{self.file} is not UTF-8 text: {error}') from None

    def prepare(self, text: str) -> Source:
        """Substitute the file variables, and stand-ins for the values of bases."""
        folder, name = os.path.split(self.path)
        stem, extension = os.path.splitext(name)
        variables = {
            'fileDirname': folder.replace(os.sep, '/'),
            'fileBasename': name,
            'fileBasenameNoExtension': stem,
            'fileExtname': extension,
        }
        refs: dict[str, str] = {}

        def stand_in(match: re.Match[str]) -> str:
            refs[f'mmkit_base_ref_{len(refs)}_'] = match[1]
            name = f'mmkit_base_ref_{len(refs) - 1}_'
            bare = extension == '.json' and text[: match.start()].rstrip()[-1:] in (':', ',', '[')
            return f'"{name}"' if bare else name

        text = _ENVIRONMENT_VARIABLE.sub(self.environment_variable, text)
        text = _FILE_VARIABLE.sub(lambda match: variables[match[1]], text)
        return Source(self.file, _BASE_REF.sub(stand_in, text), refs)

    def environment_variable(self, match: re.Match[str]) -> str:
        line = match.string.count('\n', 0, match.start()) + 1
        if not self.trust:
            raise UnsafeConfigError(
                f'{self.file}:{line}: {match[0]}\n  this reads an environment variable, which may be a secret. If you '
                f'trust this file, use Config.fromfile(path, trust=True) or --trust-config.'
            )
        value = os.environ.get(match[1]) or match[2]
        if not value:
            raise ConfigError(f'{self.file}:{line}: the environment variable {match[1]} is not set')
        return value

    # ------------------------------------------------------------------ values

    def evaluate(self, source: Source) -> ConfigDict:
        try:
            tree = ast.parse(source.text, self.file)
        except SyntaxError as error:
            raise ConfigError(f'{source.at(error.lineno or 0)}\n  not valid Python: {error.msg}') from error
        except (ValueError, RecursionError, MemoryError) as error:
            raise ConfigError(f'{self.file}: not a config that Python can parse: {error}') from None
        interpreter = Interpreter(source, self, self.budget)
        try:
            values = interpreter.run(tree.body)
        except UnsafeConfigError as error:
            if not self.trust:
                raise
            if 'with read_base()' in source.text:
                raise ConfigError(f'{error} But a config with read_base() is never run.') from None
            self.bases, self.texts, self.budget = None, [], Budget()
            values = run_python(source, tree, self.path, self)
        self.imported = interpreter.variables.imported
        self.modules.update(interpreter.variables.modules)
        for name in [name for name in values if name.startswith('__')]:
            del values[name]
        return values

    def parse(self, source: Source, suffix: str) -> ConfigDict:
        values = read_json(source) if suffix == '.json' else read_yaml(source)
        try:
            self.budget.spend_on(values)
            if '_base_' in values:
                self.load_bases(values['_base_'], values._origins['_base_'].line)
        except Refused as error:
            raise ConfigError(f'{self.file}: {error}') from None
        filled: ConfigDict = fill(values, source.refs, self.base_value)
        return filled

    # ------------------------------------------------------------------ bases

    def load_bases(self, value: Any, line: int) -> ConfigDict:
        """See `Bases`."""
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
            raise ConfigError(f'{self.file}:{line}: _base_ is a path or a list of paths, got {value!r}')
        if self.bases is None and self.texts:
            raise self.mixture(line)
        merged, self.texts = ConfigDict(), []
        owners: dict[Any, str] = {}
        for name in names:
            path = self.find(base_path, name, line)
            base = self.load_file(path, line)
            values, scope, file = base.values, scope_of(name), shown(path)
            if scope is not None and scope != 'mmdet':
                values = untangle(values)
                mark_scope(values, scope)
            for key in values:
                if key in owners:
                    raise ConfigError(f'{self.file}:{line}: two bases have the key {key!r}: {owners[key]} and {file}')
                owners[key] = file
            merged.update(values)
            self.texts.append(base.text)
            self.modules.update(base.modules)
        self.bases = untangle(merged, '_base_')
        return self.bases

    def load_module(self, module: str, line: int) -> Loaded:
        """See `Bases`."""
        if self.bases is not None:
            raise self.mixture(line)
        base = self.load_file(self.find(module_path, module, line), line)
        self.texts.append(base.text)
        return replace(base, values=untangle(base.values))

    def load_file(self, path: str, line: int) -> Loaded:
        if path in self.chain:
            circle = ' -> '.join(shown(file) for file in (*self.chain[self.chain.index(path) :], path))
            raise ConfigError(f'{self.file}:{line}: the bases run in a circle: {circle}')
        return _File(path, self.trust, self.chain, self.budget, f'{self.file}:{line}').load()

    def find(self, where: Callable[[str, str], str], name: str, line: int) -> str:
        try:
            return where(name, self.path)
        except (ConfigError, MissingFileError) as error:
            raise type(error)(f'{self.file}:{line}: {error}') from None

    def mixture(self, line: int) -> ConfigError:
        return ConfigError(f'{self.file}:{line}: a config has its bases by _base_ or by read_base(), not by both')

    def base_value(self, dotted: str) -> Any:
        """See `Bases`."""
        value: Any = self.bases
        if value is None:
            raise ConfigError(f'{self.file}: {dotted!r} of _base_ is asked for before _base_ is set')
        for part in dotted.split('.'):
            if isinstance(value, (list, tuple)) and part.isdigit() and int(part) < len(value):
                value = value[int(part)]
            elif isinstance(value, ConfigDict) and part in value:
                value = value[part]
            else:
                near = nearest(part, value) if isinstance(value, ConfigDict) else []
                hint = f'; the nearest: {", ".join(near)}' if near else ''
                raise ConfigError(f'the bases of {self.file} have no {dotted!r}: {part!r} is missing{hint}')
        return untangle(value)
