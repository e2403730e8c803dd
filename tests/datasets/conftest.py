from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest


@pytest.fixture
def make_images(tmp_path):
    """Writes random images of the given (height, width) as 0.png, 1.png, ... and returns their folder."""

    def make(*sizes: tuple[int, int]) -> Path:
        rng = np.random.default_rng(0)
        for number, (height, width) in enumerate(sizes):
            img = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
            assert cv2.imwrite(str(tmp_path / f'{number}.png'), img)
        return tmp_path

    return make


@pytest.fixture
def write_json(tmp_path):
    def write(content: Any, name: str = 'ann.json') -> str:
        path = tmp_path / name
        path.write_text(json.dumps(content))
        return str(path)

    return write


@pytest.fixture
def coco(write_json):
    """Writes a COCO file; images are (height, width), annotations (image index, category id, box xywh, more fields)."""

    def write(sizes, annotations, categories=((7, 'cat'), (3, 'dog')), **more) -> str:
        images = [
            dict(id=100 + n, file_name=f'{n}.png', height=height, width=width)
            for n, (height, width) in enumerate(sizes)
        ]
        anns = [
            dict(id=n + 1, image_id=100 + image, category_id=category, bbox=list(box), **(fields[0] if fields else {}))
            for n, (image, category, box, *fields) in enumerate(annotations)
        ]
        cats = [dict(id=number, name=name) for number, name in categories]
        return write_json(dict(images=images, annotations=anns, categories=cats, **more))

    return write


TRAIN = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='Resize', img_scale=(64, 48), ratio_range=(0.5, 2.0)),
    dict(type='RandomFlip', flip_ratio=0.5),
    dict(type='Normalize', mean=[127.0] * 3, std=[50.0] * 3),
    dict(type='Pad', size_divisor=8),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels']),
]


@pytest.fixture
def train_pipeline():
    return [dict(step) for step in TRAIN]


@pytest.fixture
def test_pipeline():
    steps = [
        dict(type='Resize', keep_ratio=True),
        dict(type='RandomFlip'),
        dict(type='Normalize', mean=[127.0] * 3, std=[50.0] * 3),
        dict(type='ImageToTensor', keys=['img']),
        dict(type='Collect', keys=['img']),
    ]
    return [dict(type='LoadImageFromFile'), dict(type='MultiScaleFlipAug', img_scale=(64, 48), transforms=steps)]
