"""Configs by their names, such as `rtmdet_tiny_8xb32-300e_coco`."""

from __future__ import annotations

from pathlib import Path

from mmkit.config.bases import SHIPPED
from mmkit.errors import MissingFileError
from mmkit.utils.names import nearest


def find_config(name: str) -> Path:
    """The file of a config: a path, or the name of one that mmkit ships, without folder and suffix.

    Raises:
        MissingFileError: there is neither; with the nearest names.
    """
    path = Path(name).expanduser()
    if path.suffix or path.is_file():
        return path
    shipped = {found.stem: found for found in Path(SHIPPED).glob('[!_]*/*.py')}
    if name not in shipped:
        near = nearest(name, shipped)
        hint = f'; the nearest: {", ".join(near)}' if near else ''
        raise MissingFileError(f'there is neither a file {name} nor a config of this name in {SHIPPED}{hint}')
    return shipped[name]
