"""Readers of YAML, JSON and trusted Python configs, with the line of each key."""

from __future__ import annotations

import ast
import json
import types
import warnings
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from mmkit.config.config_dict import ConfigDict, Origin, convert
from mmkit.config.source import Bases, Source, fill_refs
from mmkit.errors import ConfigError


def read_yaml(source: Source) -> ConfigDict:
    """A YAML mapping, by PyYAML's safe loader."""
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    def mapping(loader: Loader, node: yaml.MappingNode) -> ConfigDict:
        loader.flatten_mapping(node)
        made = ConfigDict()
        for key_node, value_node in node.value:
            key = loader.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(None, None, 'an unhashable key', key_node.start_mark)
            value = loader.construct_object(value_node, deep=True)
            made._put(key, value, Origin(source.file, key_node.start_mark.line + 1))
        return made

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    try:
        values = yaml.load(source.text, Loader)  # a SafeLoader
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f'{source.file}: not valid YAML: {error}') from None
    return _mapping(values if values is not None else ConfigDict(), source)


def read_json(source: Source) -> ConfigDict:
    """A JSON object."""
    try:
        values = json.loads(source.text)
    except json.JSONDecodeError as error:
        raise ConfigError(f'{source.at(error.lineno)}\n  not valid JSON: {error.msg}') from None
    except RecursionError:
        raise ConfigError(f'{source.file}: not valid JSON: nested too deeply') from None
    values = _mapping(convert(values, origin=Origin(source.file)), source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # "\/" is right in JSON, not in Python
            tree = ast.parse(source.text.strip(), mode='eval')
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return values  # JSON that is not Python too: the file without lines
    skipped = source.text[: len(source.text) - len(source.text.lstrip())].count('\n')
    annotate(values, tree.body, source.file, skipped)
    return values


def run_python(
    source: Source,
    tree: ast.Module,
    path: str,
    bases: Bases,
) -> ConfigDict:
    """Run a trusted `.py` config as Python; functions, classes and modules among its names are left out."""
    assigned = {
        target.id: node
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    names: dict[str, Any] = {}
    if '_base_' in assigned:
        names['_base_'] = bases.load_bases(ast.literal_eval(assigned['_base_'].value), assigned['_base_'].lineno)
        tree.body.remove(assigned['_base_'])
    names.update({ref: bases.base_value(key) for ref, key in source.refs.items()})
    names.update(__name__='mmkit_trusted_config', __file__=path)
    exec(compile(tree, path, 'exec'), names)
    values = ConfigDict()
    for name, value in names.items():
        unwanted = isinstance(value, (types.ModuleType, types.FunctionType, types.BuiltinFunctionType, type))
        if name.startswith('__') or name in source.refs or unwanted:
            continue
        node = assigned.get(name)
        origin = Origin(source.file, node.lineno if node else 0)
        value = fill(convert(value, origin=origin), source.refs, bases.base_value)
        values._put(name, value, origin)
        if node:
            annotate(value, node.value, source.file)
    return values


def annotate(value: Any, node: ast.expr, file: str, offset: int = 0) -> None:
    """Set the line of each key of `value` that is written out in the syntax tree `node`."""
    pairs: list[tuple[Any, int, ast.expr]] = []
    if isinstance(value, ConfigDict) and isinstance(node, ast.Dict):
        pairs = [
            (key.value, key.lineno, item)
            for key, item in zip(node.keys, node.values, strict=True)
            if isinstance(key, ast.Constant)
        ]
    elif isinstance(value, ConfigDict) and isinstance(node, ast.Call):
        pairs = [(word.arg, word.lineno, word.value) for word in node.keywords if word.arg is not None]
    elif isinstance(value, (list, tuple)) and isinstance(node, (ast.List, ast.Tuple)) and len(value) == len(node.elts):
        for item, item_node in zip(value, node.elts, strict=True):
            annotate(item, item_node, file, offset)
    for key, line, item_node in pairs:
        if key in value:
            value._origins[key] = Origin(file, line + offset)
            annotate(value[key], item_node, file, offset)


def fill(value: Any, refs: Mapping[str, str], base_value: Callable[[str], Any]) -> Any:
    """`value` with the stand-ins of `{{_base_.key}}` replaced in its texts."""
    if not refs:
        return value
    if isinstance(value, str):
        return fill_refs(value, refs, base_value)
    if isinstance(value, ConfigDict):
        for key, item in list(value.items()):
            value._put(key, fill(item, refs, base_value), value._origins.get(key))
    elif type(value) in (list, tuple):
        return type(value)([fill(item, refs, base_value) for item in value])
    return value


def _mapping(values: Any, source: Source) -> ConfigDict:
    if not isinstance(values, ConfigDict):
        raise ConfigError(f'{source.file}: a config is a mapping at the top, got {type(values).__name__}')
    return values
