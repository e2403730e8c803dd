"""The annotation file of OpenMMLab 2.0."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmkit.datasets.annotations import read_classes
from mmkit.datasets.custom import CustomDataset
from mmkit.errors import InvalidValueError
from mmkit.registry import DATASETS


@DATASETS.register_module()
class BaseDetDataset(CustomDataset):
    """Images with boxes and masks, from a json file

        {"metainfo": {"classes": ["cat"]},
         "data_list": [{"img_path": "a.jpg", "width": 1280, "height": 720,
                        "instances": [{"bbox": [x1, y1, x2, y2], "bbox_label": 0, "ignore_flag": 0, "mask": ...}]}]}

    with everything after `bbox_label` optional. `classes` replace those of the file; other arguments are those of
    `CustomDataset`.

    Raises:
        InvalidValueError: if the file has another layout.
    """

    def load_annotations(self, ann_file: str) -> list[dict[str, Any]]:
        content = json.loads(Path(ann_file).read_text())
        if not isinstance(content, Mapping) or 'data_list' not in content:
            raise InvalidValueError(f"{ann_file}: expected 'metainfo' and 'data_list'", key='ann_file')
        if self.CLASSES is None:
            self.CLASSES = read_classes(content.get('metainfo', {}).get('classes'), None)
        try:
            return [_middle_format(number, entry) for number, entry in enumerate(content['data_list'])]
        except KeyError as error:
            raise InvalidValueError(f'{ann_file}: an entry of data_list lacks {error}', key='ann_file') from error


def _middle_format(number: int, entry: Mapping[str, Any]) -> dict[str, Any]:
    instances = entry.get('instances', ())
    objects = [each for each in instances if not each.get('ignore_flag')]
    ann: dict[str, Any] = dict(
        bboxes=[each['bbox'] for each in objects],
        labels=[each['bbox_label'] for each in objects],
        bboxes_ignore=[each['bbox'] for each in instances if each.get('ignore_flag')],
        masks=[each.get('mask') or [] for each in objects],
    )
    if 'seg_map_path' in entry:
        ann['seg_map'] = entry['seg_map_path']
    size = dict(width=entry['width'], height=entry['height'])
    return dict(filename=entry['img_path'], id=entry.get('img_id', number), **size, ann=ann)
