from __future__ import annotations

import numpy as np
import pytest

from mmkit.structures import BitmapMasks


@pytest.fixture
def make_sample():
    """A sample whose image is 200 inside of its boxes and 0 elsewhere, with masks, map and ignored boxes to match."""

    def make(height=40, width=60, bboxes=((10, 5, 30, 25),), ignored=(), seed=0):
        pixels = np.zeros((len(bboxes), height, width), np.uint8)
        for mask, (x1, y1, x2, y2) in zip(pixels, bboxes):
            mask[y1:y2, x1:x2] = 1
        inside = pixels.any(axis=0) if len(bboxes) else np.zeros((height, width), bool)
        img = np.repeat(inside[..., None].astype(np.uint8) * 200, 3, axis=2)
        return dict(
            img=img,
            img_shape=img.shape,
            ori_shape=img.shape,
            gt_bboxes=np.array(bboxes, np.float32).reshape(-1, 4),
            gt_labels=np.arange(len(bboxes)),
            gt_bboxes_ignore=np.array(ignored, np.float32).reshape(-1, 4),
            gt_masks=BitmapMasks(pixels, height, width),
            gt_semantic_seg=inside.astype(np.uint8),
            bbox_fields=['gt_bboxes', 'gt_bboxes_ignore'],
            mask_fields=['gt_masks'],
            seg_fields=['gt_semantic_seg'],
            rng=np.random.default_rng(seed),
        )

    return make


@pytest.fixture
def check_agreement():
    """Image, masks, map and boxes of a sample tell the same."""

    def check(sample, slack=1.0):
        height, width = sample['img'].shape[:2]
        masks = sample['gt_masks']
        assert sample['img_shape'] == sample['img'].shape or 'pad_shape' in sample
        assert (masks.height, masks.width) == sample['gt_semantic_seg'].shape == (height, width)
        assert len(masks) == len(sample['gt_bboxes']) == len(sample['gt_labels'])
        bright = sample['img'][..., 0] > 100
        assert np.mean(bright != sample['gt_semantic_seg'].astype(bool)) < 0.05
        assert np.mean(bright != masks.masks.any(axis=0)) < 0.05
        assert np.abs(masks.get_bboxes() - sample['gt_bboxes']).max(initial=0) <= slack

    return check
