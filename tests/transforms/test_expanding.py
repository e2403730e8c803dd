from __future__ import annotations

import numpy as np
import pytest

from mmkit.transforms import Expand, Pad


def test_expand_fills_with_the_mean(make_sample, check_agreement):
    step = Expand(mean=(10, 20, 30), ratio_range=(2, 3), seg_ignore_label=0, prob=1)
    sample = step(make_sample(ignored=[(0, 0, 60, 40)]))
    height, width = sample['img'].shape[:2]
    assert 80 <= height <= 120 and 120 <= width <= 180 and sample['img_shape'] == (height, width, 3)
    left, top, right, bottom = sample['gt_bboxes_ignore'][0].astype(int)
    assert (right - left, bottom - top) == (60, 40)
    outside = np.ones((height, width), bool)
    outside[top:bottom, left:right] = False
    assert np.unique(sample['img'][outside], axis=0).tolist() == [[30, 20, 10]]  # the image is BGR
    check_agreement(sample, slack=0)


def test_expand_by_chance(make_sample):
    shapes = [Expand(seg_ignore_label=255, prob=0.3)(make_sample(seed=seed))['img'].shape for seed in range(300)]
    assert shapes.count((40, 60, 3)) / 300 == pytest.approx(0.7, abs=0.1)
    with pytest.raises(ValueError, match='seg_ignore_label'):
        Expand(prob=1)(make_sample())
    with pytest.raises(ValueError, match='ratio_range'):
        Expand(ratio_range=(0.5, 2))


@pytest.mark.parametrize(
    ('arguments', 'shape'),
    [(dict(size=(50, 70)), (50, 70)), (dict(size_divisor=32), (64, 64)), (dict(pad_to_square=True), (60, 60))],
)
def test_pad(make_sample, check_agreement, arguments, shape):
    sample = Pad(**arguments)(make_sample())
    assert sample['pad_shape'] == (*shape, 3) == sample['img'].shape
    assert sample['img_shape'] == (40, 60, 3)
    assert sample['img'][45:, 65:].sum() == 0
    assert sample['gt_semantic_seg'].shape == shape and sample['gt_semantic_seg'][-1, -1] in (255, 0)
    sample['gt_semantic_seg'] %= 255
    check_agreement(sample)


def test_padding_values(make_sample):
    values = Pad(size=(50, 70), pad_val=dict(img=(1, 2, 3), seg=7, masks=1))(make_sample())
    assert values['img'][-1, -1].tolist() == [1, 2, 3]
    assert values['gt_semantic_seg'][-1, -1] == 7 and values['gt_masks'].masks[0, -1, -1] == 1
    assert Pad(size=(50, 70), pad_val=9)({'img': np.zeros((40, 60, 3), np.uint8)})['img'][-1, -1].tolist() == [9] * 3
    for arguments, message in (
        (dict(), 'exactly one'),
        (dict(size=(1, 1), size_divisor=2), 'exactly one'),
        (dict(size_divisor=2, pad_val=dict(image=3)), 'image'),
    ):
        with pytest.raises(ValueError, match=message):
            Pad(**arguments)
    with pytest.raises(ValueError, match='cannot pad'):
        Pad(size=(30, 70))(make_sample())
    with pytest.raises(ValueError, match='2 padding values for 3 channels'):
        Pad(size=(50, 70), pad_val=dict(img=(1, 2)))(make_sample())
