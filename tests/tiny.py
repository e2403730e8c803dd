"""A data set of a few drawn squares in COCO's format, and a Faster R-CNN small enough to train on it in seconds."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import torch

from mmkit.config import Config
from mmkit.engine.checkpoint import save_checkpoint
from mmkit.models import build_detector

CLASSES = ('dark', 'bright')
ROOT = Path(__file__).parents[1]


def make_dataset(directory: Path, num_images: int = 3, size: int = 64) -> Path:
    """`directory`/{images/*.png,annotations.json}: one square on each image, dark and bright in turns."""
    (directory / 'images').mkdir(parents=True)
    images, annotations = [], []
    for number in range(num_images):
        label = number % 2
        image = np.full((size, size, 3), 128, dtype=np.uint8)
        left, top = 8 + 6 * (number % 4), 20
        image[top : top + 24, left : left + 24] = 255 * label
        cv2.imwrite(str(directory / 'images' / f'{number}.png'), image)
        images.append({'id': 10 + number, 'file_name': f'{number}.png', 'width': size, 'height': size})
        box = {'bbox': [left, top, 24, 24], 'area': 576, 'iscrowd': 0}
        annotations.append({'id': 1 + number, 'image_id': 10 + number, 'category_id': 5 + label, **box})
    categories = [{'id': 5 + label, 'name': name} for label, name in enumerate(CLASSES)]
    content = {'images': images, 'annotations': annotations, 'categories': categories}
    (directory / 'annotations.json').write_text(json.dumps(content))
    return directory


def tiny_config(directory: Path) -> Config:
    """The shapes config on that data set with a much narrower network."""
    cfg = Config.fromfile(ROOT / 'configs' / 'faster_rcnn' / 'faster_rcnn_r18_fpn_shapes.py')
    files = {'ann_file': str(directory / 'annotations.json'), 'img_prefix': str(directory / 'images')}
    options = {f'data.{split}.{key}': value for split in ('train', 'val', 'test') for key, value in files.items()}
    options |= {f'data.{split}.classes': CLASSES for split in ('train', 'val', 'test')}
    options |= {
        'data.test.pipeline.1.img_scale': (64, 64),
        'model.backbone.base_channels': 8,
        'model.backbone.stem_channels': 8,
        'model.neck.in_channels': [8, 16, 32, 64],
        'model.neck.out_channels': 8,
        'model.rpn_head.in_channels': 8,
        'model.rpn_head.feat_channels': 8,
        'model.roi_head.bbox_roi_extractor.out_channels': 8,
        'model.roi_head.bbox_head.in_channels': 8,
        'model.roi_head.bbox_head.fc_out_channels': 16,
        'model.roi_head.bbox_head.num_classes': 2,
        'model.test_cfg.rpn.max_per_img': 20,
        'model.test_cfg.rcnn.score_thr': 0.0,
        'model.test_cfg.rcnn.max_per_img': 5,
    }
    cfg.merge_from_dict(options)
    return cfg


def save_weights(path: Path, cfg: Config, **meta: object) -> Path:
    """A checkpoint of random weights."""
    torch.manual_seed(0)
    save_checkpoint(path, build_detector(cfg.model), meta={'CLASSES': CLASSES, **meta})
    return path
