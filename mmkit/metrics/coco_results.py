"""Detections in COCO's result format."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from os import PathLike
from typing import Any

import numpy as np

from mmkit.errors import InvalidValueError
from mmkit.structures import EncodedMasks, Instances, Masks
from mmkit.utils.files import atomic_write


def coco_detections(img_id: Hashable, out: Instances, num_classes: int, with_masks: bool) -> list[dict[str, Any]]:
    """The detections in one image as dicts of `label`, `score`, `bbox` (x, y, w, h) and perhaps `segmentation`.

    Without labels (proposals) all are of the first class, without scores these are 1.

    Raises:
        InvalidValueError: if a label is not one of `num_classes`.
    """
    bboxes = out.bboxes.detach().cpu().numpy().astype(np.float64)
    bboxes[:, 2:] -= bboxes[:, :2]
    scores = np.ones(len(out)) if out.scores is None else out.scores.detach().cpu().numpy()
    labels = np.zeros(len(out), np.int64) if out.labels is None else out.labels.cpu().numpy()
    if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
        raise InvalidValueError(
            f'image {img_id}: labels {labels.min()}..{labels.max()}, the dataset has {num_classes} classes'
        )
    detections: list[dict[str, Any]] = [
        dict(label=label, bbox=bbox, score=score)
        for label, bbox, score in zip(labels.tolist(), bboxes.tolist(), scores.tolist())
    ]
    if with_masks and isinstance(out.masks, Masks):
        masks = out.masks if isinstance(out.masks, EncodedMasks) else EncodedMasks.from_bitmaps(out.masks.to_ndarray())
        for detection, segmentation in zip(detections, masks.to_json()):
            detection['segmentation'] = segmentation
    return detections


def to_coco_json(
    outputs: Sequence[Instances], img_ids: Sequence[Hashable], cat_ids: Sequence[Hashable], with_masks: bool = False
) -> list[dict[str, Any]]:
    """Detections in COCO's result format, with the ids of the annotation file.

    Args:
        outputs: of each image.
        img_ids: of each image.
        cat_ids: of each label.
        with_masks: the masks, too.
    """
    return [
        {'image_id': img_id, 'category_id': cat_ids[detection.pop('label')], **detection}
        for img_id, out in zip(img_ids, outputs, strict=True)
        for detection in coco_detections(img_id, out, len(cat_ids), with_masks)
    ]


def write_coco_results(
    outputs: Sequence[Instances], prefix: str | PathLike[str], img_ids: Sequence[Hashable], cat_ids: Sequence[Hashable]
) -> dict[str, str]:
    """Writes `<prefix>.bbox.json`, with masks `<prefix>.segm.json`, and for proposals `<prefix>.proposal.json`.

    Returns:
        kind -> path.
    """
    kinds = {'bbox': False, 'segm': True}
    if all(out.labels is None for out in outputs):
        kinds = {'proposal': False}
    elif all(out.masks is None for out in outputs):
        kinds = {'bbox': False}
    paths = {}
    for kind, with_masks in kinds.items():
        paths[kind] = f'{prefix}.{kind}.json'
        with atomic_write(paths[kind], 'w') as file:
            json.dump(to_coco_json(outputs, img_ids, cat_ids, with_masks), file)
    return paths
