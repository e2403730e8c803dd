"""Checkpoints: written whole or not at all, read without running anything in them."""

from __future__ import annotations

import functools
import os
import re
import time
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mmkit.engine.converters import mmdet
from mmkit.engine.mmengine import own_meta, without_preprocessor
from mmkit.errors import InvalidValueError
from mmkit.utils import env
from mmkit.utils.files import atomic_write
from mmkit.utils.logging import get_logger
from mmkit.utils.state_dict import COMPILED, LoadReport, cpu_state_dict, load_state_dict, metadata_of, with_metadata
from mmkit.utils.weights import read_weights, resolve
from mmkit.version import __version__

__all__ = [
    'LoadReport',
    'find_latest',
    'is_intact',
    'load_checkpoint',
    'load_state_dict',
    'load_with_report',
    'save_checkpoint',
    'unwrap',
]

ReviseKeys = Sequence[tuple[str, str]]


def load_checkpoint(
    model: nn.Module,
    filename: str | os.PathLike[str],
    map_location: str | torch.device = 'cpu',
    strict: bool = False,
    revise_keys: ReviseKeys = ((r'^module\.', ''),),
) -> dict[str, Any]:
    """Load weights into a model, and log the tensors that fit.

    Args:
        model: a detector or any module; a DistributedDataParallel or a compiled model is looked into.
        filename: a path, URL or scheme, see `mmkit.utils.weights.resolve`.
        map_location: device of the tensors that are returned.
        strict: everything must fit.
        revise_keys: pairs of a regular expression and its replacement for the names in the file.

    Returns:
        The content of the file; `meta` holds what the training wrote into it, CLASSES and PALETTE under these names.

    Raises:
        MissingFileError: see `resolve`.
        InvalidValueError: if the file is broken or holds no weights, or if less than half of the backbone matches.
        RuntimeError: with `strict`, if something doesn't fit.
    """
    return load_with_report(model, filename, map_location, strict, revise_keys)[0]


def load_with_report(
    model: nn.Module,
    filename: str | os.PathLike[str],
    map_location: str | torch.device = 'cpu',
    strict: bool = False,
    revise_keys: ReviseKeys = ((r'^module\.', ''),),
) -> tuple[dict[str, Any], LoadReport]:
    """`load_checkpoint` that also returns the report of the tensors that fit."""
    checkpoint = read_weights(resolve(filename), map_location)
    state_dict = without_preprocessor(_weights_in(checkpoint, filename))
    if isinstance(checkpoint.get('meta'), Mapping):
        checkpoint['meta'] = own_meta(checkpoint['meta'])
    for pattern, replacement in revise_keys:
        renamed = OrderedDict((re.sub(pattern, replacement, name), value) for name, value in state_dict.items())
        state_dict = with_metadata(renamed, metadata_of(state_dict))
    model = unwrap(model)
    report = load_state_dict(model, state_dict, strict)
    report.hint = _other_dialect(report, filename, state_dict)
    _require_match(model, report, filename, state_dict)
    log = get_logger('mmkit.engine')
    (log.info if report.complete else log.warning)('weights of %s: %s', filename, report)
    return checkpoint, report


def save_checkpoint(
    path: str | os.PathLike[str],
    model: nn.Module,
    optimizer: Optimizer | Mapping[str, Any] | None = None,
    meta: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write a checkpoint that `torch.load(weights_only=True)` reads; see `mmkit.utils.files.atomic_write`.

    Args:
        path: the file appears there complete, or what was there stays.
        model: its weights are the `state_dict`; a DistributedDataParallel or a compiled model is looked into.
        optimizer: its state, or an already made state dict, is `optimizer`.
        meta: epoch, iter, CLASSES, config, ... of plain Python values; version, environment and time are added.
        extra: further top-level entries (loss scaler, random state), of plain values and tensors.

    Raises:
        OSError: if the disk is full, for instance.
        TypeError: if `meta` or `extra` hold something that couldn't be read back.
    """
    own_meta = {
        'mmkit_version': __version__,
        'env': _environment(),
        'time': time.strftime('%Y-%m-%d %H:%M:%S'),
    }
    checkpoint = {'meta': _plain({**own_meta, **(meta or {})}, 'meta'), 'state_dict': cpu_state_dict(unwrap(model))}
    if optimizer is not None:
        state = optimizer.state_dict() if isinstance(optimizer, Optimizer) else optimizer
        checkpoint['optimizer'] = _plain(state, 'optimizer')
    for name, value in (extra or {}).items():
        checkpoint[name] = _plain(value, name)
    with atomic_write(path) as file:
        torch.save(checkpoint, file)


def is_intact(path: str | os.PathLike[str]) -> bool:
    """True if a checkpoint in torch's zip format is complete; every byte is checked, nothing is unpickled."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith('/data.pkl') for name in archive.namelist()) and archive.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False


def find_latest(work_dir: str | os.PathLike[str]) -> Path | None:
    """The furthest intact `epoch_N.pth` or `iter_N.pth` of a work directory, of the kind that was written last.

    Where there is none, the checkpoint that the file `last_checkpoint` names.
    """
    numbered: dict[str, list[tuple[int, Path]]] = {'epoch': [], 'iter': []}
    for path in Path(work_dir).glob('*.pth'):
        match = re.fullmatch(r'(epoch|iter)_(\d+)', path.stem)
        if match and path.is_file():
            numbered[match[1]].append((int(match[2]), path))
    kinds = [sorted(kind, reverse=True) for kind in numbered.values() if kind]
    for kind in sorted(kinds, key=lambda kind: -max(path.stat().st_mtime for _, path in kind)):
        for _, path in kind:
            if is_intact(path):
                return path
            get_logger('mmkit.engine').warning('%s is broken, looking for an earlier one', path)
    note = Path(work_dir) / 'last_checkpoint'
    noted = Path(note.read_text().strip()) if note.is_file() else None
    return noted if noted is not None and is_intact(noted) else None


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside of DistributedDataParallel, DataParallel and `torch.compile`, however they are nested."""
    wrappers = (nn.parallel.DistributedDataParallel, nn.DataParallel)
    inner = model.module if isinstance(model, wrappers) else dict(model.named_children()).get(COMPILED, model)
    assert isinstance(inner, nn.Module)
    return inner if inner is model else unwrap(inner)


def _weights_in(checkpoint: Mapping[str, Any], filename: object) -> Mapping[str, Tensor]:
    """The dict of tensors: under `state_dict`, under `model` as other projects have it, or the file itself."""
    for name in ('state_dict', 'model'):
        if isinstance(checkpoint.get(name), Mapping):
            checkpoint = checkpoint[name]
            break
    if not any(isinstance(value, Tensor) for value in checkpoint.values()):
        raise InvalidValueError(
            f'{filename} holds no weights, only {", ".join(map(str, list(checkpoint)[:10])) or "nothing"}'
        )
    return checkpoint


def _require_match(model: nn.Module, report: LoadReport, filename: object, state_dict: Mapping[str, Tensor]) -> None:
    """Refuse weights that belong to another model."""
    matched, wanted = report.under('backbone.')
    part = 'backbone'
    if not wanted:
        matched, wanted = report.under('')
        part = type(model).__name__
    if 2 * matched < wanted:
        examples = [', '.join(list(names)[:3]) for names in (model.state_dict(), state_dict)]
        raise InvalidValueError(
            f'{filename} is not a checkpoint of this model: {matched} of {wanted} tensors of the {part} match. '
            f'The names in the model begin with {examples[0]}, those in the file with {examples[1]}.\n{report}'
        )


def _other_dialect(report: LoadReport, filename: object, state_dict: Mapping[str, Tensor]) -> str:
    """A hint where missing tensors have other names in the other dialect of mmdetection; else ''."""
    if not report.missing:
        return ''
    for origin, convert in (('mmdet2', mmdet.to_v3), ('mmdet3', mmdet.to_v2)):
        try:
            renamed = convert(state_dict).state_dict
        except InvalidValueError:  # two of its tensors would have one name: it is something else
            continue
        found = len(set(report.missing) & renamed.keys())
        if found:
            return f'{found} of the missing ones get their names by: mmkit convert {filename} NEW.pth --from {origin}'
    return ''


@functools.cache
def _environment() -> str:
    return env.format_env(env.collect_env())


def _plain(value: object, where: str) -> Any:
    """The value of plain Python types, numpy numbers and subclasses of dict and list turned into them."""
    if value is None or isinstance(value, (bool, bytes, Tensor)):
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    if isinstance(value, Mapping):
        return {_plain(key, where): _plain(item, f'{where}.{key}') for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_plain(item, where) for item in value)
    if isinstance(value, (list, set, frozenset)):
        return [_plain(item, where) for item in value]
    raise TypeError(f'{where} of a checkpoint is a {type(value).__name__}, expected plain Python values and tensors')
