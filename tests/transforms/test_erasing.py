from __future__ import annotations

import numpy as np
import pytest

from mmkit.errors import InvalidValueError
from mmkit.structures import BitmapMasks
from mmkit.transforms import CutOut, RandomErasing, RandomShift


def test_a_rectangle_is_erased_everywhere(make_sample):
    sample = RandomErasing(1, (0.3, 0.5), img_border_value=(1, 2, 3))(make_sample())
    patch = (sample['img'] == (1, 2, 3)).all(axis=2)
    height, width = patch.any(axis=1).sum(), patch.any(axis=0).sum()
    assert patch.sum() == height * width and height / 40 == pytest.approx(width / 60, abs=0.03)
    assert (sample['gt_semantic_seg'][patch] == 255).all() and (sample['gt_masks'].masks[:, patch] == 0).all()
    assert isinstance(sample['gt_masks'], BitmapMasks) and len(sample['gt_bboxes']) == 1


def test_covered_objects_are_dropped(make_sample):
    seen = set()
    for seed in range(30):
        sample = RandomErasing((1, 3), 0.5, bbox_erased_thr=0.5)(make_sample(seed=seed, ignored=[(10, 5, 30, 25)]))
        left = (sample['img'][5:25, 10:30] == 200).mean()
        assert len(sample['gt_bboxes']) == len(sample['gt_bboxes_ignore']) == len(sample['gt_masks']) == (left >= 0.5)
        seen.add(len(sample['gt_labels']))
    assert seen == {0, 1}
    nothing = RandomErasing(0, 0.5)(make_sample())
    assert (nothing['img'] == make_sample()['img']).all()
    assert len(RandomErasing(3, 0.1)(make_sample(bboxes=()))['gt_bboxes']) == 0


def test_holes_of_given_sizes(make_sample):
    sample = make_sample()
    sample['img'] = np.full_like(sample['img'], 9)
    cut = CutOut(1, cutout_shape=(7, 5), fill_in=(0, 1, 2))(dict(sample))
    hole = (cut['img'] == (0, 1, 2)).all(axis=2)
    assert 0 < hole.sum() <= 35 and hole.any(axis=1).sum() <= 5 and (sample['img'] == 9).all()
    shares = CutOut((2, 4), cutout_ratio=[(0.1, 0.5), (0.2, 0.2)])(dict(sample))
    assert 0 < (shares['img'] == 0).all(axis=2).sum() <= 4 * 6 * 20
    for wrong in (dict(n_holes=1), dict(n_holes=(3, 2), cutout_shape=(1, 1))):
        with pytest.raises(InvalidValueError, match='CutOut'):
            CutOut(**wrong)
    for wrong in (dict(n_patches=-1, ratio=0.1), dict(n_patches=1, ratio=(0.5, 1))):
        with pytest.raises(InvalidValueError, match='RandomErasing'):
            RandomErasing(**wrong)


def test_a_shift_moves_everything(make_sample, check_agreement):
    for seed in range(10):
        sample = make_sample(seed=seed)
        del sample['gt_semantic_seg']
        shifted = RandomShift(prob=1, max_shift_px=4)({**sample, 'seg_fields': []})
        (dx, dy), *_ = (shifted['gt_bboxes'] - (10, 5, 30, 25))[:, :2]
        assert max(abs(dx), abs(dy)) <= 4 and shifted['homography_matrix'][:2, 2].tolist() == [dx, dy]
        bright = shifted['img'][..., 0] > 100
        assert (bright == shifted['gt_masks'].masks[0].astype(bool)).all() and bright.sum() == 400


def test_a_shift_never_loses_all_objects(make_sample):
    sample = {**make_sample(bboxes=[(0, 0, 3, 3)]), 'seg_fields': [], 'mask_fields': []}
    for seed in range(20):
        shifted = RandomShift(prob=1, max_shift_px=30)({**sample, 'rng': np.random.default_rng(seed)})
        assert len(shifted['gt_bboxes']) == 1
