"""Annotations in the middle format: what they lack, what they hold, and a table of it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from mmkit.errors import InvalidTypeError, InvalidValueError, MissingFileError
from mmkit.evaluation import DetectionTruth, format_table


def read_classes(classes: str | Sequence[str] | None, default: Sequence[str] | None) -> tuple[str, ...] | None:
    """Names given as a sequence, or as the path of a file with one name a line; None gives the default.

    Raises:
        MissingFileError: if there is no such file.
        InvalidValueError: if a name occurs twice.
        InvalidTypeError: for anything else.
    """
    if classes is None:
        return None if default is None else tuple(default)
    if isinstance(classes, str):
        if not Path(classes).is_file():
            message = f'classes={classes!r}: no such file of class names (a single class is written as ({classes!r},))'
            raise MissingFileError(message, key='classes')
        classes = [line.strip() for line in Path(classes).read_text().splitlines() if line.strip()]
    if not isinstance(classes, Sequence):
        raise InvalidTypeError(f'classes are a list of names, or a file of them, got {classes!r}', key='classes')
    if len(set(classes)) < len(classes):
        raise InvalidValueError(f'a class occurs twice among {list(classes)}', key='classes')
    return tuple(classes)


def chosen_images(images: Sequence[dict[str, Any]], indices: int | Sequence[int]) -> list[dict[str, Any]]:
    """The first so many images, with a negative number the last ones, or those at the given positions.

    Raises:
        InvalidValueError: if a position is that of no image.
    """
    if isinstance(indices, int):
        return list(images[:indices] if indices >= 0 else images[indices:])
    wrong = [index for index in indices if not -len(images) <= index < len(images)]
    if wrong:
        raise InvalidValueError(f'indices has {wrong[:5]}, there are {len(images)} images', key='indices')
    return [images[index] for index in indices]


def complete_ann(ann: Mapping[str, Any]) -> dict[str, Any]:
    """`ann` with arrays in place of lists and of what is missing."""
    return {
        **ann,
        'bboxes': np.asarray(ann.get('bboxes', ()), dtype=np.float32).reshape(-1, 4),
        'labels': np.asarray(ann.get('labels', ()), dtype=np.int64).reshape(-1),
        'bboxes_ignore': np.asarray(ann.get('bboxes_ignore', ()), dtype=np.float32).reshape(-1, 4),
    }


def middle_truth(
    source: str,
    classes: Sequence[str],
    img_ids: Sequence[Hashable],
    sizes: Sequence[tuple[int, int]],
    anns: Sequence[Mapping[str, Any]],
) -> DetectionTruth:
    """Ground truth of images in the middle format.

    Args:
        source: where they are from, for messages.
        classes: names of the labels.
        img_ids: of each image.
        sizes: height and width of each image.
        anns: of each image, complete. Ignored boxes without `labels_ignore` are of no class.
    """
    bboxes, labels, is_ignored, segmentations, num_boxes = [], [], [], [], []
    for ann in anns:
        num_objects, num_ignored = len(ann['bboxes']), len(ann['bboxes_ignore'])
        bboxes += [ann['bboxes'], ann['bboxes_ignore']]
        labels += [ann['labels'], ann.get('labels_ignore', np.full(num_ignored, -1))]
        is_ignored += [False] * num_objects + [True] * num_ignored
        segmentations += [*ann.get('masks', [None] * num_objects), *[None] * num_ignored]
        num_boxes.append(num_objects + num_ignored)
    corners = np.concatenate([np.zeros((0, 4)), *bboxes]).astype(np.float64)
    lengths = corners[:, 2:] - corners[:, :2]
    return DetectionTruth(
        source=source,
        classes=tuple(classes),
        img_ids=img_ids,
        sizes=np.array(sizes, dtype=np.int64).reshape(-1, 2),
        images=np.repeat(np.arange(len(anns)), num_boxes),
        labels=np.concatenate([np.zeros(0, np.int64), *labels]).astype(np.int64),
        bboxes=np.concatenate([corners[:, :2], lengths], axis=1),
        areas=lengths.prod(axis=1),
        is_crowd=np.array(is_ignored, dtype=bool),
        is_ignored=np.array(is_ignored, dtype=bool),
        segmentations=segmentations if any(segmentations) else None,
        cat_ids=range(1, len(classes) + 1),
    )


def has_objects(image: Mapping[str, Any]) -> bool:
    ann = image.get('ann', {})
    return len(ann.get('bboxes', ())) > 0 or len(ann.get('bboxes_ignore', ())) > 0


def count_classes(source: str, images: Sequence[Mapping[str, Any]], classes: Sequence[str] | None) -> tuple[int, str]:
    """Counts boxes.

    Args:
        source: where they are from, for errors.
        images: in the middle format.
        classes: names of the labels.

    Returns:
        The number of boxes, and a table of images and boxes of every class.

    Raises:
        InvalidValueError: if a label is not one of a class.
    """
    labels = [np.asarray(image.get('ann', {}).get('labels', ()), dtype=np.int64) for image in images]
    all_labels = np.concatenate([np.zeros(0, np.int64), *labels])
    num_classes = len(classes) if classes else int(all_labels.max(initial=-1)) + 1
    if len(all_labels) and not 0 <= all_labels.min() <= all_labels.max() < num_classes:
        message = f'{source} has labels {all_labels.min()}..{all_labels.max()} for {num_classes} classes'
        raise InvalidValueError(message, key='ann_file')
    present = np.concatenate([np.zeros(0, np.int64), *(np.unique(array) for array in labels)])
    num_boxes = np.bincount(all_labels, minlength=num_classes)
    num_images = np.bincount(present, minlength=num_classes)
    names = classes or [str(label) for label in range(num_classes)]
    cells = [[name, str(images), str(boxes)] for name, images, boxes in zip(names, num_images, num_boxes)]
    width = 1 if len(cells) <= 10 else 3  # classes side by side
    cells += [['', '', '']] * (-len(cells) % width)
    rows = [[*chain.from_iterable(cells[start : start + width])] for start in range(0, len(cells), width)]
    return len(all_labels), format_table(['class', 'images', 'boxes'] * width, rows)
