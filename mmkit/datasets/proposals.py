"""Files of another detector's boxes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmkit.errors import InvalidValueError, MissingFileError
from mmkit.utils.pickles import load_arrays


def load_proposals(path: str | Path, img_ids: Sequence[Any]) -> list[np.ndarray]:
    """(P, 4) or, with scores, (P, 5) float32 for every image, best first.

    Args:
        path: `.pkl`, a list with an array for each image, in the order of the annotation file; `.json`, the same list,
            or COCO's results (dicts of image_id, bbox xywh, score).
        img_ids: of the images of the annotation file, in its order.

    Raises:
        InvalidValueError: if there are more or fewer lists than images, the suffix is another, or a pickle holds
            anything but arrays.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f'no proposal file {path}', key='proposal_file')
    if path.suffix == '.json':
        content = json.loads(path.read_text())
        if content and isinstance(content[0], dict):
            return _group(content, img_ids)
    elif path.suffix in ('.pkl', '.pickle'):
        content = load_arrays(path)
    else:
        raise InvalidValueError(f'proposals come in .json or .pkl files, got {path}', key='proposal_file')
    if len(content) != len(img_ids):
        message = f'{path} has proposals of {len(content)} images, the annotation file has {len(img_ids)} images'
        raise InvalidValueError(message, key='proposal_file')
    return [_array(rows) for rows in content]


def _group(boxes: list[dict[str, Any]], img_ids: Sequence[Any]) -> list[np.ndarray]:
    rows = defaultdict(list)
    for box in boxes:
        x, y, w, h = box['bbox']
        rows[box['image_id']].append([x, y, x + w, y + h, box['score']])
    return [_array(sorted(rows[img_id], key=lambda row: -row[4])) for img_id in img_ids]


def _array(rows: Sequence[Sequence[float]]) -> np.ndarray:
    array = np.asarray(rows, dtype=np.float32)
    return array if array.size else np.zeros((0, 5), np.float32)
