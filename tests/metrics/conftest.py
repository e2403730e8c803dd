from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mmkit.evaluation import DetectionTruth, coco_truth
from mmkit.structures import EncodedMasks, ImageMeta, Instances

BOX = [8.0, 20.0, 24.0, 24.0]  # x, y, width, height
POLYGON = [[8, 20, 32, 20, 32, 44, 8, 44]]


def coco_content(num_images: int = 2, **first: Any) -> dict[str, Any]:
    """A COCO file with one object in each image, cats and dogs in turn; `first` changes the first one."""
    numbers = range(1, num_images + 1)
    annotations = [
        dict(id=n, image_id=n, category_id=1 + (n - 1) % 2, bbox=BOX, area=576, iscrowd=0, segmentation=POLYGON)
        for n in numbers
    ]
    annotations[0].update(first)
    return dict(
        images=[dict(id=n, file_name=f'{n}.png', width=64, height=64) for n in numbers],
        categories=[dict(id=1, name='cat'), dict(id=2, name='dog')],
        annotations=annotations,
    )


@pytest.fixture
def truth() -> DetectionTruth:
    return coco_truth(coco_content(), 'ann.json')


def perfect(label: int, with_masks: bool = False) -> Instances:
    """The object of an image, found."""
    masks = None
    if with_masks:
        bitmap = np.zeros((1, 64, 64), np.uint8)
        bitmap[0, 20:44, 8:32] = 1
        masks = EncodedMasks.from_bitmaps(bitmap)
    return Instances(torch.tensor([[8.0, 20, 32, 44]]), torch.tensor([label]), torch.tensor([0.9]), masks)


def make_meta(index: int | None, img_id: Any = None) -> ImageMeta:
    size = (64, 64)
    name = f'{index}.png'
    return ImageMeta(name, name, img_id, size, size, size, np.ones(4, np.float32), index=index)
