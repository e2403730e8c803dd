"""CrowdHuman's format: one json object a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from mmkit.datasets.custom import CustomDataset
from mmkit.errors import InvalidValueError, MissingFileError
from mmkit.registry import DATASETS


@DATASETS.register_module()
class CrowdHumanDataset(CustomDataset):
    """People in crowds, arXiv:1805.00123: the full body of each, from `.odgt` files.

    What is no person, or to be ignored, becomes an ignored box. Sizes of images are read from their files. The
    arguments are those of `CustomDataset`.

    Raises:
        InvalidValueError: if a line is not of this format.
        MissingFileError: if an image is not there.
    """

    CLASSES = ('person',)
    PALETTE = ((220, 20, 60),)

    def load_annotations(self, ann_file: str) -> list[dict[str, Any]]:
        lines = Path(ann_file).read_text().splitlines()
        try:
            entries = [json.loads(line) for line in lines if line.strip()]
            return [self._middle_format(entry) for entry in entries]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise InvalidValueError(f'{ann_file} is not in the format of CrowdHuman: {error!r}', 'ann_file') from error

    def _middle_format(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        filename = f'{entry["ID"]}.jpg'
        path = Path(self.img_prefix) / filename
        if not path.is_file():
            raise MissingFileError(f'no image file {path}', key='img_prefix')
        with Image.open(path) as img:
            width, height = img.size
        bboxes: dict[bool, list[list[float]]] = {False: [], True: []}
        for box in entry['gtboxes']:
            x, y, w, h = box['fbox']
            is_ignored = box['tag'] != 'person' or bool(box.get('extra', {}).get('ignore'))
            bboxes[is_ignored].append([x, y, x + w, y + h])
        labels = [0] * len(bboxes[False])
        ann = dict(bboxes=bboxes[False], labels=labels, bboxes_ignore=bboxes[True])
        return dict(id=entry['ID'], filename=filename, width=width, height=height, ann=ann)
