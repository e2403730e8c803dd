from __future__ import annotations

import numpy as np
import pytest
import torch

from mmkit.errors import InvalidValueError
from mmkit.models.dense_heads.detections import PostProcessing, finish_predictions
from mmkit.structures import Instances
from mmkit.transforms import PackDetInputs, RandomCenterCropPad


def boxes_only(sample):
    return {**sample, 'mask_fields': [], 'seg_fields': []}


def test_a_window_around_a_point_of_the_image(make_sample):
    step = RandomCenterCropPad((24, 32), ratios=(0.5, 1.0), border=8, mean=(3, 2, 1), to_rgb=True)
    sizes = set()
    for seed in range(30):
        sample = step(boxes_only(make_sample(bboxes=[(10, 5, 30, 25), (52, 33, 58, 38)], seed=seed)))
        height, width = sample['img'].shape[:2]
        sizes.add((height, width))
        assert len(sample['gt_bboxes']) == len(sample['gt_labels']) >= 1 and 'border' not in sample
        for x1, y1, x2, y2 in sample['gt_bboxes'].astype(int):
            assert (sample['img'][y1:y2, x1:x2] == 200).all() and (x1 + x2) // 2 < width
        filled = (sample['img'] == (1, 2, 3)).all(axis=2)
        assert (
            filled.sum()
            == height * width - (sample['img'] == 0).all(axis=2).sum() - (sample['img'] == 200).all(axis=2).sum()
        )
    assert sizes == {(12, 16), (24, 32)}
    assert step(boxes_only(make_sample(bboxes=())))['gt_bboxes'].shape == (0, 4)


def test_a_small_image_has_a_smaller_border(make_sample):
    step = RandomCenterCropPad((40, 60), ratios=(1.0,), border=128)
    assert step(boxes_only(make_sample()))['img'].shape == (40, 60, 3)


def test_a_test_image_is_put_in_the_middle_and_its_detections_come_back(make_sample):
    step = RandomCenterCropPad(
        ratios=None, border=None, test_mode=True, test_pad_mode=['logical_or', 31], test_pad_add_pix=1
    )
    sample = step(boxes_only(make_sample()))
    assert sample['img'].shape == (64, 64, 3) and sample['border'] == (2, 12)
    assert (sample['img'][17:37, 12:32] == 200).all() and sample['gt_bboxes'].tolist() == [[12, 17, 32, 37]]
    meta = PackDetInputs(['border'])(sample).meta
    found = Instances(torch.tensor([[12.0, 17, 32, 37]]), torch.tensor([0]), torch.tensor([0.9]))
    settings = PostProcessing.from_cfg(dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=10, score_thr=0.1))
    assert finish_predictions(found, meta, settings, rescale=True).bboxes.tolist() == [[10, 5, 30, 25]]
    divisor = RandomCenterCropPad(test_mode=True, test_pad_mode=('size_divisor', 25))
    assert divisor(boxes_only(make_sample()))['img'].shape == (50, 75, 3)


def test_wrong_arguments():
    for wrong, reason in (
        (dict(), 'in training'),
        (dict(test_mode=True, test_pad_mode=None), 'needs test_pad_mode'),
        (dict(test_mode=True, test_pad_mode=('square', 3)), 'square'),
    ):
        with pytest.raises(InvalidValueError, match=reason):
            RandomCenterCropPad(**wrong)
    assert np.array_equal(RandomCenterCropPad((4, 4), mean=(1, 2, 3), to_rgb=False).mean, (1, 2, 3))
