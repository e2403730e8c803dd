"""Ground truth of a whole dataset, in the form that every metric takes it."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from typing_extensions import Self

from mmkit.evaluation.voc import Boxes


@dataclass(frozen=True)
class Truth:
    """Ground truth of the images of a dataset, in its order.

    Attributes:
        source: the file or folder it is from, for messages.
        classes: names of the labels 0..C-1; empty if nobody knows them.
        img_ids: of each image, as `ImageMeta.img_id` and files of results have it.
    """

    source: str
    classes: tuple[str, ...]
    img_ids: Sequence[Hashable]

    def __len__(self) -> int:
        return len(self.img_ids)

    @cached_property
    def positions(self) -> dict[Hashable, int]:
        """Image id -> index of the image."""
        return {img_id: index for index, img_id in enumerate(self.img_ids)}


@dataclass(frozen=True)
class ClassTruth(Truth):
    """Ground truth of image classification.

    Attributes:
        labels: (I,) int64, of each image.
    """

    labels: np.ndarray

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        """The images of one part after the other."""
        ids = [img_id for part in parts for img_id in part.img_ids]
        return replace(parts[0], img_ids=ids, labels=np.concatenate([part.labels for part in parts]))


@dataclass(frozen=True)
class DetectionTruth(Truth):
    """Ground truth of detection: N objects of I images, image by image.

    Attributes:
        sizes: (I, 2) int64, height and width of each image.
        images: (N,) int64, the index of the image of each object.
        labels: (N,) int64 in 0..C-1; -1 for an ignored region of no class.
        bboxes: (N, 4) float64 x, y, width, height in pixels, as COCO's files have them.
        areas: (N,) float64, by which COCO's metrics tell small from large objects.
        is_crowd: (N,) bool, regions of many objects: COCO's metrics excuse detections in them.
        is_ignored: (N,) bool, crowds and objects marked as difficult: they neither count nor punish.
        segmentations: of each object its polygons or run-length code as the file has them, or None; None: of no object.
        cat_ids: of each label its category in files of results.
        other_images: (M,) int64, the index of the image of each object that is of none of the classes, and no crowd.
        other_bboxes: (M, 4) float64, their boxes as in `bboxes`. `proposal_fast` counts them, as in mmdetection.
    """

    sizes: np.ndarray
    images: np.ndarray
    labels: np.ndarray
    bboxes: np.ndarray
    areas: np.ndarray
    is_crowd: np.ndarray
    is_ignored: np.ndarray
    segmentations: Collection[Any] | None = None
    cat_ids: Sequence[Hashable] = ()
    other_images: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    other_bboxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))

    @cached_property
    def corners(self) -> np.ndarray:
        """(N, 4) float32 xyxy."""
        return _corners(self.bboxes)

    def class_agnostic_boxes(self) -> list[np.ndarray]:
        """(K, 4) float32 xyxy of each image: objects of any class, also of those that are not evaluated."""
        images = np.concatenate([self.images[~self.is_ignored], self.other_images])
        bboxes = _corners(np.concatenate([self.bboxes[~self.is_ignored], self.other_bboxes]))
        return [bboxes[images == index] for index in range(len(self))]

    def boxes(self) -> list[Boxes]:
        """The objects image by image, for the metrics of Pascal VOC."""
        ends = np.searchsorted(self.images, np.arange(len(self) + 1))
        rows = [slice(start, end) for start, end in zip(ends[:-1], ends[1:])]
        return [Boxes(self.corners[row], self.labels[row], ignored=self.is_ignored[row]) for row in rows]

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        """The images of one part after the other."""
        starts = np.cumsum([0, *(len(part) for part in parts)])
        segmentations: list[Any] | None = None
        if any(part.segmentations is not None for part in parts):
            segmentations = [each for part in parts for each in part.segmentations or [None] * len(part.labels)]
        return replace(
            parts[0],
            img_ids=[img_id for part in parts for img_id in part.img_ids],
            sizes=np.concatenate([part.sizes for part in parts]),
            images=np.concatenate([part.images + start for part, start in zip(parts, starts)]),
            labels=np.concatenate([part.labels for part in parts]),
            bboxes=np.concatenate([part.bboxes for part in parts]),
            areas=np.concatenate([part.areas for part in parts]),
            is_crowd=np.concatenate([part.is_crowd for part in parts]),
            is_ignored=np.concatenate([part.is_ignored for part in parts]),
            segmentations=segmentations,
            other_images=np.concatenate([part.other_images + start for part, start in zip(parts, starts)]),
            other_bboxes=np.concatenate([part.other_bboxes for part in parts]),
        )


def _corners(bboxes: np.ndarray) -> np.ndarray:
    """(N, 4) x, y, width, height -> float32 xyxy."""
    return np.concatenate([bboxes[:, :2], bboxes[:, :2] + bboxes[:, 2:]], axis=1).astype(np.float32)
