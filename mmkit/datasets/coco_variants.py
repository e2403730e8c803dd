"""Datasets in COCO's format, with classes or names of files of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from mmkit.datasets.coco import CocoDataset
from mmkit.registry import DATASETS

# Their classes are the categories of the file.
DATASETS.register_module(['LVISV1Dataset', 'LVISDataset', 'Objects365V1Dataset', 'V3DetDataset'], module=CocoDataset)


@DATASETS.register_module()
class CityscapesDataset(CocoDataset):
    """Cityscapes (arXiv:1604.01685) with its instances in COCO's format. An image with crowds only is an empty one."""

    CLASSES = ('person', 'rider', 'car', 'truck', 'bus', 'train', 'motorcycle', 'bicycle')
    PALETTE = (
        *((220, 20, 60), (255, 0, 0), (0, 0, 142), (0, 0, 70)),
        *((0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32)),
    )

    def _trainable(self, images: list[dict[str, Any]], min_size: int, filter_empty_gt: bool) -> list[dict[str, Any]]:
        if filter_empty_gt:
            images = [image for image in images if len(image['ann']['bboxes'])]
        return super()._trainable(images, min_size, filter_empty_gt)


@DATASETS.register_module()
class DeepFashionDataset(CocoDataset):
    """DeepFashion's in-shop clothes with segmentations in COCO's format."""

    CLASSES = (
        *('top', 'skirt', 'leggings', 'dress', 'outer', 'pants', 'bag', 'neckwear', 'headwear', 'eyeglass'),
        *('belt', 'footwear', 'hair', 'skin', 'face'),
    )


@DATASETS.register_module()
class LVISV05Dataset(CocoDataset):
    """LVIS 0.5 (arXiv:1908.03195), on images that are called by their numbers, as in COCO 2017."""

    def load_annotations(self, ann_file: str) -> list[dict[str, Any]]:
        images = super().load_annotations(ann_file)
        return _renamed(images, lambda listed: listed[-16:] if listed.startswith('COCO') else listed)


@DATASETS.register_module()
class Objects365V2Dataset(CocoDataset):
    """Objects365, version 2, with images in their folders (patch0, ...) and no others above."""

    def load_annotations(self, ann_file: str) -> list[dict[str, Any]]:
        images = super().load_annotations(ann_file)
        return _renamed(images, lambda listed: str(PurePosixPath(*PurePosixPath(listed).parts[-2:])))


def _renamed(images: list[dict[str, Any]], path_of: Callable[[str], str]) -> list[dict[str, Any]]:
    """The images with the paths of their files, by the names in the annotation file."""
    return [{**image, 'filename': path_of(image['filename'])} for image in images]
