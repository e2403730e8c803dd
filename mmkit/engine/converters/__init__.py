"""Checkpoints of other projects under the names of ours. A source is a file here and a line below."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from mmkit.engine.converters import detectron2, megvii_yolox, mmdet, repvgg, torchvision
from mmkit.engine.converters.rules import Conversion
from mmkit.engine.mmengine import own_meta
from mmkit.errors import InvalidValueError
from mmkit.utils.files import atomic_write
from mmkit.utils.weights import read_weights, resolve

CONVERTERS: dict[str, Callable[[Mapping[str, Tensor]], Conversion]] = {
    'megvii-yolox': megvii_yolox.convert,
    'torchvision': torchvision.convert,
    'detectron2': detectron2.convert,
    'repvgg': repvgg.convert,
    'mmdet': mmdet.keep,
    'mmdet2': mmdet.to_v3,
    'mmdet3': mmdet.to_v2,
}


def convert_file(source: str | os.PathLike[str], destination: str | os.PathLike[str], origin: str) -> Conversion:
    """Read `source`, rename its tensors, write them as `state_dict` (with `meta`) to `destination`.

    Args:
        source: a file, URL or scheme; a `.pkl` is read as detectron2's.
        origin: a key of `CONVERTERS`.

    Raises:
        InvalidValueError: if the file holds something else than weights, or no tensor gets a name.
    """
    path = resolve(source)
    meta: dict[str, object] = {}
    if path.suffix == '.pkl':
        tensors = detectron2.read_pickle(path)
    else:
        content = read_weights(path)
        known = own_meta(content.get('meta') or {})
        meta = {key: known[key] for key in ('CLASSES', 'PALETTE', 'dataset_meta', 'epoch', 'iter') if key in known}
        inner = next((content[k] for k in ('state_dict', 'model') if isinstance(content.get(k), Mapping)), content)
        tensors = {name: value for name, value in inner.items() if isinstance(value, Tensor)}
    conversion = CONVERTERS[origin](tensors)
    if not conversion.state_dict:
        raise InvalidValueError(f'{path}: none of its {len(tensors)} tensors is known to --from {origin}')
    if Path(destination).suffix != '.pth':
        raise InvalidValueError(f'{destination}: a checkpoint ends in .pth')
    Path(destination).parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(destination) as file:
        torch.save({'meta': {**meta, 'converted_from': origin}, 'state_dict': conversion.state_dict}, file)
    return conversion
