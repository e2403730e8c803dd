"""Weight files: from the name in a config to a local file, and from the file to tensors."""

from __future__ import annotations

import difflib
import os
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from mmkit.errors import InvalidValueError, MissingFileError
from mmkit.utils.download import download
from mmkit.utils.logging import get_logger

# Schemes of mmcv for weights on a server that no longer exists.
_LOST_SCHEMES = ('open-mmlab', 'openmmlab', 'mmcls')


def home() -> Path:
    """The cache directory of downloads: MMKIT_HOME, by default ~/.cache/mmkit."""
    return Path(os.environ.get('MMKIT_HOME') or Path.home() / '.cache' / 'mmkit')


def resolve(source: str | os.PathLike[str]) -> Path:
    """The local file of a config's `checkpoint`, downloaded into the cache if necessary.

    Args:
        source: a path; `http(s)://...`, optionally followed by `#sha256=<64 digits>`; `torchvision://resnet50` or
            `torchvision://resnet50.imagenet1k_v2`; or `open-mmlab://detectron2/resnet50_caffe`, whose server no longer
            exists: the file must be in the cache already.

    Raises:
        MissingFileError: there is no such file; with the path where it is expected.
        InvalidValueError: the scheme or the torchvision model is unknown.
        DownloadError: a download failed or its hash is wrong.
    """
    text = os.fspath(source)
    scheme, separator, name = text.partition('://')
    if not separator:
        return _local(Path(text).expanduser())
    if scheme in ('http', 'https'):
        return download(text, home() / 'checkpoints')
    if scheme in ('torchvision', 'modelzoo'):
        return download(_torchvision_url(name), home() / 'checkpoints')
    if scheme in _LOST_SCHEMES:
        file = home() / 'checkpoints' / f'{name}.pth'
        if not file.is_file():
            raise MissingFileError(
                f'{text}: the server of these weights no longer exists. If you have the file, put it at {file}; '
                'weights of the same architecture from another source may need another image normalisation'
            )
        return file
    raise InvalidValueError(
        f'{text}: scheme {scheme!r} is unknown, expected a path, http(s)://, torchvision:// or open-mmlab://'
    )


def read_weights(path: str | os.PathLike[str], map_location: str | torch.device = 'cpu') -> dict[str, Any]:
    """Read a file of `torch.save`, in the zip format or the older one, without running code from it.

    Objects of classes that are not on the allow-list (mmdetection stores some next to the weights) are replaced by
    dicts, with a warning unless they are mmengine's; their classes are neither imported nor called.

    Args:
        path: a local file; see `resolve` for other sources.
        map_location: device of the tensors, as in `torch.load`.

    Raises:
        MissingFileError: there is no such file.
        InvalidValueError: the file is broken, holds no dict, or cannot be read without running code from it.
    """
    file = _local(Path(path))
    try:
        with torch.serialization.safe_globals(_ALLOWED):
            content = torch.load(file, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError:
        content = _read_with_placeholders(file, map_location)
    except (RuntimeError, EOFError, OSError, KeyError) as error:
        raise _broken(file, error) from error
    if not isinstance(content, dict):
        raise InvalidValueError(f'{file} holds a {type(content).__name__}, expected a dict of tensors or a checkpoint')
    return content


def _read_with_placeholders(file: Path, map_location: str | torch.device) -> Any:
    """The content of a file that names classes which are not on the allow-list."""
    try:
        unknown = sorted(_globals_of(file) - _ALLOWED_NAMES)
    except (ValueError, EOFError, StopIteration) as error:
        raise _broken(file, error) from error
    try:
        with torch.serialization.safe_globals([*_ALLOWED, *map(_placeholder, unknown)]):
            content = torch.load(file, map_location=map_location, weights_only=True)
    except (pickle.UnpicklingError, AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise InvalidValueError(
            f'{file} cannot be read without running code from it (it uses {_foreign(unknown)}). If you trust it, keep '
            "only its weights: torch.save({'state_dict': torch.load(path, weights_only=False)['state_dict']}, new_path)"
        ) from error
    if not content:
        raise InvalidValueError(f'{file} is not a dict of tensors, but an object of {_foreign(unknown)}')
    if not _is_of_mmengine(unknown):
        get_logger().warning('%s: objects of %s were left out', file, _foreign(unknown))
    return content


def _broken(file: Path, error: Exception) -> InvalidValueError:
    size, kind = file.stat().st_size, type(error).__name__
    return InvalidValueError(f'{file} ({size:,} bytes) is not a complete file of torch.save: {kind} {error}')


def _foreign(names: list[str]) -> str:
    """The names that are not parts of tensors, for messages; torch reads the parts of tensors by itself."""
    return ', '.join(_not_of_torch(names)) or 'pickle features it does not know'


def _not_of_torch(names: list[str]) -> list[str]:
    own = ('torch', 'torch._utils', 'torch._tensor', 'torch.nn.parameter', 'torch.storage', 'collections', '_codecs')
    return [name for name in names if name.rpartition('.')[0] not in own]


def _is_of_mmengine(names: list[str]) -> bool:
    """True if there is nothing but records of a training in 3.x, whose absence nobody needs to know about."""
    foreign = [name for name in _not_of_torch(names) if name != 'builtins.getattr']  # for methods of its classes
    return bool(foreign) and all(name.startswith('mmengine.') for name in foreign)


def _globals_of(file: Path) -> set[str]:
    """Names of all classes and functions in the pickles of a file, read without unpickling."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            member = next(name for name in archive.namelist() if name.endswith('/data.pkl'))
            with archive.open(member) as stream:
                return _globals_in(stream)
    with open(file, 'rb') as stream:  # the older format: magic number, version, system, content; one pickle each
        return set().union(*(_globals_in(stream) for _ in range(4)))


def _globals_in(stream: IO[bytes]) -> set[str]:
    names = set()
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name == 'GLOBAL':
            module, name = str(argument).split(' ', 1)
            module = {'__builtin__': 'builtins', 'copy_reg': 'copyreg'}.get(module, module)
            names.add(f'{module}.{name}')
    return names


def _named(path: str, target: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function or class the import path that pickles have for it."""
    target.__module__, _, target.__name__ = path.rpartition('.')
    target.__qualname__ = target.__name__
    return target


def _placeholder(path: str) -> Any:
    """A class for the unpickler whose objects are dicts: empty, or the dict that they would be made from."""
    return _named(path, type('Placeholder', (), {'__new__': lambda cls, *args: OrderedDict(_first_dict(args))}))


def _first_dict(args: tuple[Any, ...]) -> dict[Any, Any]:
    return args[0] if args and isinstance(args[0], dict) else {}


def _alias(path: str, function: Callable[..., Any]) -> Any:
    """The function under another import path."""
    return _named(path, lambda *args: function(*args))


def _local(path: Path) -> Path:
    if path.is_file():
        return path
    near = sorted(other.name for other in path.parent.glob('*.pth')) if path.parent.is_dir() else []
    there = f'; in {path.parent} there are {", ".join(near[:5])}' if near else ''
    raise MissingFileError(f'there is no file {path}{there}')


def _torchvision_url(name: str) -> str:
    """The URL in torchvision's table; by default of the first ImageNet weights, as mmdetection's configs expect."""
    from torchvision import models

    model, _, version = name.partition('.')
    available = {known.lower(): known for known in models.list_models()}
    if model.lower() not in available:
        near = difflib.get_close_matches(model, available, n=3)
        raise InvalidValueError(
            f'torchvision://{name}: torchvision has no model {model!r}, the nearest are {", ".join(near)}'
        )
    weights = {entry.name: entry for entry in models.get_model_weights(available[model.lower()])}
    wanted = version.upper() or next(iter(weights))
    if wanted not in weights:
        raise InvalidValueError(
            f'torchvision://{name}: {model} comes with {", ".join(weights).lower()}, not {version!r}'
        )
    return str(weights[wanted].url)


# Beside tensors, checkpoints of mmdetection hold numpy numbers and arrays. The functions are taken from numpy's own
# reductions, because they moved to another module with numpy 2, and a file may be older or newer than that.
_NUMPY_FUNCTIONS = {'scalar': np.float64(0).__reduce__()[0], '_reconstruct': np.zeros(1).__reduce__()[0]}
_ALLOWED: list[Any] = [
    np.ndarray,
    np.dtype,
    *{type(np.dtype(code)) for code in '?bBhHiIlLqQefdSU'},
    *(
        _alias(f'{module}.multiarray.{name}', function)
        for module in ('numpy.core', 'numpy._core')
        for name, function in _NUMPY_FUNCTIONS.items()
    ),
    _alias('collections.deque', lambda items=(), maxlen=None: list(items)),
]
_ALLOWED_NAMES = {f'{item.__module__}.{item.__qualname__}' for item in _ALLOWED}
