"""Reads a config file and its bases into one dict."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmkit.config.config_dict import ConfigDict, merge, untangle
from mmkit.config.formats import fill, read_json, read_yaml, run_python
from mmkit.config.interpreter import Budget, Interpreter, Refused
from mmkit.config.source import Source
from mmkit.errors import ConfigError, MissingFileError, UnsafeConfigError
from mmkit.utils.names import nearest

SUFFIXES = ('.py', '.yaml', '.yml', '.json')
WORK_OF_A_FILE = 1000  # a chain has 500 files at most
_BASE_REF = re.compile(r'\{\{\s*_base_\.([\w.]+)\s*\}\}')
_FILE_VARIABLE = re.compile(r'\{\{\s*(fileDirname|fileBasename|fileBasenameNoExtension|fileExtname)\s*\}\}')


@dataclass
class Loaded:
    """A config file with its bases: the merged values (parts of them may be shared), the texts of all, bases first."""

    values: ConfigDict
    text: str


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
    """One file of a chain of bases."""

    def __init__(self, path: str, trust: bool, chain: Sequence[str], budget: Budget) -> None:
        self.path = path
        self.file = shown(path)
        self.trust = trust
        self.chain = (*chain, path)  # from the config that was asked for down to this file
        self.budget = budget  # of the whole chain
        self.bases: ConfigDict | None = None
        self.texts: list[str] = []

    def load(self, text: str | None = None) -> Loaded:
        suffix = os.path.splitext(self.path)[1]
        if suffix not in SUFFIXES:
            raise ConfigError(f'{self.file}: a config ends in one of {", ".join(SUFFIXES)}')
        self.budget.spend(WORK_OF_A_FILE)
        if text is None:
            text = self.read_text()
        source = self.prepare(text)
        values = self.evaluate(source) if suffix == '.py' else self.parse(source, suffix)
        values.pop('_base_', None)
        values = merge(self.bases if self.bases is not None else ConfigDict(), values)
        return Loaded(values, '\n'.join([*self.texts, f'# {self.file}\n{text}']))

    def read_text(self) -> str:
        try:
            with open(self.path, encoding='utf-8') as file:
                return file.read()
        except FileNotFoundError:
            folder, name = os.path.split(self.path)
            near = nearest(name, os.listdir(folder)) if os.path.isdir(folder) else []
            hint = f'the nearest in its folder: {", ".join(near)}' if near else 'nothing alike is in its folder'
            raise MissingFileError(f'config file {self.file} does not exist{self.origin()}; {hint}') from None
        except UnicodeDecodeError as error:
            raise ConfigError(f'{self.file} is not UTF-8 text: {error}') from None

    def origin(self) -> str:
        return f' (a base of {shown(self.chain[-2])})' if len(self.chain) > 1 else ''

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

        text = _FILE_VARIABLE.sub(lambda match: variables[match[1]], text)
        return Source(self.file, _BASE_REF.sub(stand_in, text), refs)

    # ------------------------------------------------------------------ values

    def evaluate(self, source: Source) -> ConfigDict:
        try:
            tree = ast.parse(source.text, self.file)
        except SyntaxError as error:
            raise ConfigError(f'{source.at(error.lineno or 0)}\n  not valid Python: {error.msg}') from error
        except (ValueError, RecursionError, MemoryError) as error:
            raise ConfigError(f'{self.file}: not a config that Python can parse: {error}') from None
        try:
            values = Interpreter(source, self.load_bases, self.base_value, self.budget).run(tree.body)
        except UnsafeConfigError:
            if not self.trust:
                raise
            self.bases, self.texts, self.budget = None, [], Budget()
            values = run_python(source, tree, self.path, self.load_bases, self.base_value)
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

    def load_bases(self, value: Any, line: int) -> None:
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
            raise ConfigError(f'{self.file}:{line}: _base_ is a path or a list of paths, got {value!r}')
        self.bases, self.texts = ConfigDict(), []
        owners: dict[Any, str] = {}
        for name in names:
            path = os.path.normpath(os.path.join(os.path.dirname(self.path), name))
            if path in self.chain:
                circle = ' -> '.join(shown(file) for file in (*self.chain[self.chain.index(path) :], path))
                raise ConfigError(f'{self.file}:{line}: the bases run in a circle: {circle}')
            base = _File(path, self.trust, self.chain, self.budget).load()
            file = shown(path)
            for key in base.values:
                if key in owners:
                    raise ConfigError(f'{self.file}:{line}: two bases have the key {key!r}: {owners[key]} and {file}')
                owners[key] = file
            self.bases.update(base.values)
            self.texts.append(base.text)

    def base_value(self, dotted: str) -> Any:
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
