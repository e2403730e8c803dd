"""Safe reading of pickles of other programs: arrays and plain containers only."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from mmkit.errors import InvalidValueError

# The functions that pickled arrays call; older and newer versions of numpy have them in different modules.
_RECONSTRUCT, _FROMBUFFER = np.zeros(1).__reduce__()[0], np.zeros(1).__reduce_ex__(5)[0]
_ALLOWED: dict[tuple[str, str], Any] = {
    ('numpy', 'ndarray'): np.ndarray,
    ('numpy', 'dtype'): np.dtype,
    ('collections', 'OrderedDict'): dict,
    ('__builtin__', 'bytes'): bytes,
    ('_codecs', 'encode'): lambda text, encoding: text.encode('latin1'),  # how Python 2 strings of bytes arrive
}
for _core in ('numpy.core', 'numpy._core'):
    _ALLOWED[f'{_core}.multiarray', '_reconstruct'] = _RECONSTRUCT
    _ALLOWED[f'{_core}.multiarray', 'scalar'] = np.float64(0).__reduce__()[0]
    _ALLOWED[f'{_core}.numeric', '_frombuffer'] = _FROMBUFFER


class _ArraysOnly(pickle.Unpickler):
    """Refuses every class and function but those of arrays, before it is imported."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f'it asks for {module}.{name}')
        return _ALLOWED[module, name]


def load_arrays(path: str | Path) -> Any:
    """The numpy arrays, numbers, texts and plain containers of a pickle, also of one that Python 2 wrote.

    Raises:
        FileNotFoundError: there is no such file.
        InvalidValueError: it is broken, or contains anything else.
    """
    try:
        return _ArraysOnly(io.BytesIO(Path(path).read_bytes()), encoding='latin1').load()
    except (pickle.UnpicklingError, EOFError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise InvalidValueError(f'{path} is not a pickle of numpy arrays alone, so it is not read: {error}') from error
