"""Ground truth in COCO's format, read leniently: ids of any kind, flags and masks as annotation tools write them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from mmkit.errors import InvalidValueError
from mmkit.evaluation.truth import DetectionTruth

_FLAGS = {'': False, '0': False, 'false': False, '1': True, 'true': True}


def as_flag(value: object) -> bool:
    """`iscrowd` and its like as a bool: 0, 1, true, null, "0", ...

    Raises:
        InvalidValueError: if it is anything else.
    """
    if isinstance(value, str) and value.strip().lower() in _FLAGS:
        return _FLAGS[value.strip().lower()]
    if value is None or isinstance(value, (bool, int, float)):
        return bool(value)
    raise InvalidValueError(f'expected 0 or 1, got {value!r}')


def id_order(ids: Sequence[Any]) -> list[int]:
    """Indices that sort ids: numbers by value, and texts, or a mixture, as text."""
    try:
        return sorted(range(len(ids)), key=lambda index: ids[index])
    except TypeError:
        return sorted(range(len(ids)), key=lambda index: str(ids[index]))


def coco_truth(
    content: Mapping[str, Any],
    source: str = 'the ground truth',
    cat_ids: Sequence[Hashable] | None = None,
    img_ids: Sequence[Hashable] | None = None,
    classes: Sequence[str] | None = None,
) -> DetectionTruth:
    """The objects of some categories in some images of a COCO file.

    Args:
        content: the file's `images`, `annotations` and `categories`.
        source: its path, for messages.
        cat_ids: the category of each label; by default all, in the order of the file.
        img_ids: the images, all by default.
        classes: names of the labels; by default as in the file.
    """
    names = {category['id']: str(category['name']) for category in content['categories']}
    images = {image['id']: image for image in content['images']}
    cat_ids = list(names) if cat_ids is None else list(cat_ids)
    img_ids = list(images) if img_ids is None else list(img_ids)
    labels = {cat_id: label for label, cat_id in enumerate(cat_ids)}
    anns_of: dict[Hashable, list[Mapping[str, Any]]] = {img_id: [] for img_id in img_ids}
    for ann in content.get('annotations', ()):
        if ann['image_id'] in anns_of and ann['category_id'] in labels:
            anns_of[ann['image_id']].append(ann)
    anns = [ann for img_id in img_ids for ann in anns_of[img_id]]
    others = _others(content, {img_id: index for index, img_id in enumerate(img_ids)}, labels)
    bboxes = np.array([ann['bbox'] for ann in anns], dtype=np.float64).reshape(-1, 4)
    is_crowd = np.array([as_flag(ann.get('iscrowd')) for ann in anns], dtype=bool)
    has_masks = any(ann.get('segmentation') for ann in anns)
    return DetectionTruth(
        source=source,
        classes=tuple(names[cat_id] for cat_id in cat_ids) if classes is None else tuple(classes),
        img_ids=img_ids,
        sizes=np.array([_size(images[img_id]) for img_id in img_ids], dtype=np.int64).reshape(-1, 2),
        images=np.repeat(np.arange(len(img_ids)), [len(anns_of[img_id]) for img_id in img_ids]),
        labels=np.array([labels[ann['category_id']] for ann in anns], dtype=np.int64),
        bboxes=bboxes,
        areas=np.array([_area(ann) for ann in anns], dtype=np.float64),
        is_crowd=is_crowd,
        is_ignored=is_crowd | np.array([as_flag(ann.get('ignore')) for ann in anns], dtype=bool),
        segmentations=[ann.get('segmentation') for ann in anns] if has_masks else None,
        cat_ids=cat_ids,
        other_images=np.array([index for index, _ in others], dtype=np.int64),
        other_bboxes=np.array([bbox for _, bbox in others], dtype=np.float64).reshape(-1, 4),
    )


def _others(
    content: Mapping[str, Any], positions: Mapping[Hashable, int], labels: Mapping[Hashable, int]
) -> list[tuple[int, Sequence[float]]]:
    """Image and box of each object that is of none of the classes, neither a crowd nor ignored."""
    return [
        (positions[ann['image_id']], ann['bbox'])
        for ann in content.get('annotations', ())
        if ann['image_id'] in positions and ann['category_id'] not in labels
        if not (as_flag(ann.get('iscrowd')) or as_flag(ann.get('ignore')))
    ]


def _area(ann: Mapping[str, Any]) -> float:
    _, _, width, height = ann['bbox']
    return float(width * height if ann.get('area') is None else ann['area'])


def _size(image: Mapping[str, Any]) -> tuple[int, int]:
    return image.get('height', 0), image.get('width', 0)


def usable_segmentation(segmentation: object, height: int, width: int) -> dict[str, Any] | list[list[float]] | None:
    """Polygons of three points or more, or a run-length code of the image's size; None for anything else."""
    if isinstance(segmentation, Mapping):
        size, counts = segmentation.get('size'), segmentation.get('counts')
        return dict(segmentation) if counts and size is not None and list(size) == [height, width] else None
    if not isinstance(segmentation, (list, tuple)):
        return None
    polygons = [_usable_polygon(polygon) for polygon in segmentation]
    return [polygon for polygon in polygons if polygon is not None] or None


def _usable_polygon(polygon: object) -> list[float] | None:
    """x, y, x, y, ... of at least three points, all finite."""
    if not isinstance(polygon, (list, tuple)) or len(polygon) < 6:
        return None
    if not all(isinstance(value, (int, float)) for value in polygon) or not np.isfinite(polygon).all():
        return None
    return list(polygon[: len(polygon) // 2 * 2])
