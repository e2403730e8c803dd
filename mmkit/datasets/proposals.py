"""Files of boxes found by another detector."""

from __future__ import annotations

import json
import pickle
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

NUMPY_ONLY = {
    ('numpy', 'ndarray'),
    ('numpy', 'dtype'),
    ('numpy.core.multiarray', '_reconstruct'),
    ('numpy._core.multiarray', '_reconstruct'),
    ('numpy._core.numeric', '_frombuffer'),
    ('numpy.core.numeric', '_frombuffer'),
    ('_codecs', 'encode'),
    ('__builtin__', 'bytes'),
}


class _NumpyUnpickler(pickle.Unpickler):
    """Admits lists of arrays and refuses everything that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in NUMPY_ONLY:
            raise pickle.UnpicklingError(f'{module}.{name} has no place in a file of proposals')
        return super().find_class(module, name)


def load_proposals(path: str | Path, img_ids: Sequence[Any]) -> list[np.ndarray]:
    """(P, 4) or, with scores, (P, 5) float32 for every image, best first.

    Args:
        path: `.pkl`, a list with an array for each image, in the order of the annotation file; `.json`, the same list,
            or COCO's results (dicts of image_id, bbox xywh, score).
        img_ids: of the images of the annotation file, in its order.

    Raises:
        ValueError: if there are more or fewer lists than images, or the suffix is another.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'no proposal file {path}')
    if path.suffix == '.json':
        content = json.loads(path.read_text())
        if content and isinstance(content[0], dict):
            return _group(content, img_ids)
    elif path.suffix in ('.pkl', '.pickle'):
        with path.open('rb') as file:
            content = _NumpyUnpickler(file).load()
    else:
        raise ValueError(f'proposals come in .json or .pkl files, got {path}')
    if len(content) != len(img_ids):
        raise ValueError(
            f'{path} has proposals of {len(content)} images, the annotation file has {len(img_ids)} images'
        )
    return [_array(rows) for rows in content]


def _group(found: list[dict[str, Any]], img_ids: Sequence[Any]) -> list[np.ndarray]:
    rows = defaultdict(list)
    for box in found:
        x, y, w, h = box['bbox']
        rows[box['image_id']].append([x, y, x + w, y + h, box['score']])
    return [_array(sorted(rows[img_id], key=lambda row: -row[4])) for img_id in img_ids]


def _array(rows: Any) -> np.ndarray:
    array = np.asarray(rows, dtype=np.float32)
    return array if array.size else np.zeros((0, 5), np.float32)
