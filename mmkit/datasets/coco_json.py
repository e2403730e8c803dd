"""Reading COCO's annotation files, also those that other tools wrote."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mmkit.datasets.packed import PackedList
from mmkit.errors import InvalidValueError
from mmkit.evaluation import DetectionTruth, coco_truth
from mmkit.evaluation.coco_truth import as_flag
from mmkit.utils.names import nearest


@dataclass
class CocoFile:
    """The content of an annotation file, as a dataset uses it.

    Attributes:
        images: in mmdetection's middle format, in the order of the file.
        classes: names of the labels.
        cat_ids: of every label its category in the file.
        num_dropped: boxes without area or outside of their image, which are left out.
        num_stray: annotations of images or categories that the file doesn't list, which are left out, too.
        truth: for metrics, if it was asked for.
    """

    images: list[dict[str, Any]]
    classes: tuple[str, ...]
    cat_ids: list[int]
    num_dropped: int
    num_stray: int
    truth: DetectionTruth | None = None


# What entries of each list cannot do without; of annotations only those of the classes in question need a box.
_NEEDED = {'images': ('id', 'file_name'), 'categories': ('id', 'name'), 'annotations': ('image_id', 'category_id')}


def read_coco_json(path: str | Path) -> dict[str, Any]:
    """The content of the file, the same for training and for evaluation.

    Ids may be of any kind; images without a `file_name` have the last two parts of their `coco_url`; `iscrowd` and
    `ignore` become bools, names of categories texts; `area` and `id` are filled in where annotations lack them.

    Raises:
        InvalidValueError: if it is not COCO's format, an entry lacks something, or ids occur twice.
    """
    try:
        content: dict[str, Any] = json.loads(Path(path).read_text(encoding='utf-8-sig'))
    except json.JSONDecodeError as error:
        raise InvalidValueError(f'{path} is not json: {error}', key='ann_file') from error
    missing = [key for key in ('images', 'categories') if not isinstance(content, dict) or key not in content]
    if missing:
        message = f'{path} is not a COCO annotation file: it has no {" and no ".join(map(repr, missing))}'
        raise InvalidValueError(message, key='ann_file')
    annotations = content.setdefault('annotations', [])
    for image in content['images']:
        if 'coco_url' in image:  # LVIS has nothing else
            image.setdefault('file_name', '/'.join(image['coco_url'].split('/')[-2:]))
    for what, needed in _NEEDED.items():
        for number, entry in enumerate(content[what]):
            for key in needed:
                if key not in entry:
                    message = f'{path}: entry {number} of {what!r} has no {key!r}: {_shortened(entry)}'
                    raise InvalidValueError(message, key='ann_file')
    for number, ann in enumerate(annotations, start=1):
        ann.setdefault('id', number)
        for key in ('iscrowd', 'ignore'):
            value = ann.get(key)
            ann[key] = bool(value) if value in (0, 1, None) else _flag(path, ann, key)
        if ann.get('area') is None and 'bbox' in ann:
            _check_bbox(path, ann)
            ann['area'] = ann['bbox'][2] * ann['bbox'][3]
    for category in content['categories']:
        category['name'] = str(category['name'])
    for what in ('images', 'annotations', 'categories'):
        _check_unique(path, what, [entry['id'] for entry in content[what]])
    return content


def _flag(path: str | Path, ann: dict[str, Any], key: str) -> bool:
    try:
        return as_flag(ann.get(key))
    except InvalidValueError as error:
        message = f'{path}: {key} of annotation {ann["id"]} (image {ann["image_id"]}): {error}'
        raise InvalidValueError(message, key='ann_file') from error


def parse_coco(path: str | Path, classes: Sequence[str] | None, with_truth: bool = False) -> CocoFile:
    """Boxes of the given classes, of all if None, as labels 0, 1, ... in the order of `classes`.

    Without `classes` the order is that of the category ids, and of the file if these are no counting numbers.

    Args:
        path: of the json file.
        classes: names of the labels.
        with_truth: also give the ground truth for metrics.

    Raises:
        InvalidValueError: if the file lacks a class, an image its size, or an annotation its box.
    """
    content = read_coco_json(path)
    names, cat_ids = _choose_categories(path, content, classes)
    labels = {cat_id: label for label, cat_id in enumerate(cat_ids)}
    of_image = defaultdict(list)
    for ann in content['annotations']:
        if ann['category_id'] in labels and not ann['ignore']:
            _check_bbox(path, ann)
            of_image[ann['image_id']].append(ann)
    listed = {category['id'] for category in content['categories']}, {image['id'] for image in content['images']}
    stray = [a for a in content['annotations'] if a['category_id'] not in listed[0] or a['image_id'] not in listed[1]]
    images, num_dropped = [], 0
    for entry in content['images']:
        if 'width' not in entry or 'height' not in entry:
            message = f'{path}: image {entry["id"]} ({entry.get("file_name")}) has no width and height'
            raise InvalidValueError(message, key='ann_file')
        image = dict(filename=entry['file_name'], width=entry['width'], height=entry['height'], id=entry['id'])
        anns = of_image[entry['id']]
        usable = [ann for ann in anns if _has_area_inside(ann, image)]
        num_dropped += len(anns) - len(usable)
        images.append({**image, 'ann': _middle_format(usable, labels)})
    img_ids = [image['id'] for image in images]
    truth = truth_of(content, path, names, cat_ids, img_ids) if with_truth else None
    return CocoFile(images, names, cat_ids, num_dropped, len(stray), truth)


def read_truth(path: str | Path, classes: Sequence[str] | None) -> DetectionTruth:
    """Ground truth of all images of a file; classes and errors as in `parse_coco`."""
    content = read_coco_json(path)
    names, cat_ids = _choose_categories(path, content, classes)
    return truth_of(content, path, names, cat_ids, [image['id'] for image in content['images']])


def truth_of(
    content: Mapping[str, Any],
    path: str | Path,
    classes: Sequence[str],
    cat_ids: Sequence[Hashable],
    img_ids: Sequence[Hashable],
) -> DetectionTruth:
    """Ground truth for metrics; also of objects that are of no use for training."""
    truth = coco_truth(content, str(path), cat_ids, img_ids, classes)
    return truth if truth.segmentations is None else replace(truth, segmentations=PackedList(truth.segmentations))


def _choose_categories(
    path: str | Path, content: dict[str, Any], classes: Sequence[str] | None
) -> tuple[tuple[str, ...], list[int]]:
    ids = defaultdict(list)
    categories = content['categories']
    if all(isinstance(category['id'], (int, float)) and category['id'] >= 0 for category in categories):
        categories = sorted(categories, key=lambda category: category['id'])
    for category in categories:
        ids[category['name']].append(category['id'])
    used = {ann['category_id'] for ann in content['annotations']}
    for name, several in ids.items():
        if len(several) > 1:  # annotation tools list a group of classes and a class under one name
            several = [cat_id for cat_id in several if cat_id in used] or several[:1]
            if len(several) > 1:
                raise InvalidValueError(f'{path}: categories {several} have the same name {name!r}', key='ann_file')
            ids[name] = several
    if classes is None:
        return tuple(ids), [several[0] for several in ids.values()]
    lacking = [name for name in classes if name not in ids]
    if lacking:
        hints = [f'{name!r} (near: {", ".join(nearest(name, ids)) or "none"})' for name in lacking]
        raise InvalidValueError(f'{path} has no category {"; ".join(hints)}. It has: {", ".join(ids)}', key='classes')
    return tuple(classes), [ids[name][0] for name in classes]


def _check_bbox(path: str | Path, ann: dict[str, Any]) -> None:
    bbox = ann.get('bbox')
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(isinstance(value, (int, float)) for value in bbox):
        raise InvalidValueError(
            f'{path}: the bbox of annotation {ann["id"]} (image {ann["image_id"]}) is {bbox!r}, '
            'expected [x, y, width, height] in pixels',
            key='ann_file',
        )


def _shortened(entry: object, width: int = 100) -> str:
    text = json.dumps(entry)
    return text if len(text) <= width else f'{text[:width]} ...'


def _has_area_inside(ann: dict[str, Any], image: dict[str, Any]) -> bool:
    x, y, w, h = ann['bbox']
    inside_w = min(x + w, image['width']) - max(x, 0)
    inside_h = min(y + h, image['height']) - max(y, 0)
    return bool(inside_w > 0 and inside_h > 0 and ann['area'] > 0 and w >= 1 and h >= 1)


def _middle_format(anns: list[dict[str, Any]], labels: dict[int, int]) -> dict[str, Any]:
    objects = [ann for ann in anns if not ann['iscrowd']]
    return dict(
        bboxes=_corners(objects),
        labels=np.array([labels[ann['category_id']] for ann in objects], dtype=np.int64),
        bboxes_ignore=_corners([ann for ann in anns if ann['iscrowd']]),
        masks=[ann.get('segmentation') or [] for ann in objects],
    )


def _corners(anns: list[dict[str, Any]]) -> np.ndarray:
    """(N, 4) float32 xyxy."""
    bboxes = np.array([ann['bbox'] for ann in anns], dtype=np.float64).reshape(-1, 4)
    bboxes[:, 2:] += bboxes[:, :2]
    return bboxes.astype(np.float32)


def _check_unique(path: str | Path, what: str, ids: list[Any]) -> None:
    if len(set(ids)) < len(ids):
        twice = [number for number, count in Counter(ids).items() if count > 1]
        message = f'{path}: {len(twice)} ids of {what} occur more than once, the first ones: {twice[:5]}'
        raise InvalidValueError(message, key='ann_file')
