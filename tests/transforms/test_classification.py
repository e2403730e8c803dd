from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmkit.transforms import CenterCrop, RandomCrop, RandomFlip, RandomResizedCrop, Resize


def image(height, width):
    """Every pixel tells where it is: (row, column, 0)."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.zeros_like(rows)], axis=2).astype(np.uint8)


def sample(height, width, seed=0):
    return dict(img=image(height, width), rng=np.random.default_rng(seed))


def window_of(transform, height, width, seed):
    window = transform.draw(sample(height, width), np.random.default_rng(seed))
    return window.top, window.left, window.height, window.width


def test_drawn_windows_have_the_share_and_the_ratio_asked_for():
    transform = RandomResizedCrop(size=16, scale=(0.2, 0.5), ratio=(0.5, 2.0))
    windows = np.array([window_of(transform, 200, 300, seed) for seed in range(200)])
    top, left, high, wide = windows.T
    assert (top >= 0).all() and (left >= 0).all() and (top + high <= 200).all() and (left + wide <= 300).all()
    shares, ratios = high * wide / 60000, wide / high
    assert 0.19 < shares.min() < 0.23 and 0.47 < shares.max() < 0.51
    assert 0.49 < ratios.min() < 0.6 and 1.7 < ratios.max() < 2.02
    assert abs(np.log(ratios).mean()) < 0.15  # as often wide as high
    assert len(set(top)) > 50 and len(set(left)) > 50


def test_the_window_is_resized():
    out = RandomResizedCrop(size=(8, 16), scale=(0.3, 0.3), ratio=(1, 1))(sample(40, 50, seed=3))
    top, left, high, wide = window_of(RandomResizedCrop(8, (0.3, 0.3), (1, 1)), 40, 50, 3)
    expected = cv2.resize(image(40, 50)[top : top + high, left : left + wide], (16, 8))
    assert np.array_equal(out['img'], expected) and out['img_shape'] == (8, 16, 3)


@pytest.mark.parametrize(
    ('height', 'width', 'expected'),
    [(100, 10, (43, 0, 13, 10)), (10, 100, (0, 43, 10, 13)), (30, 30, (0, 0, 30, 30))],
)
def test_without_a_window_the_largest_in_the_centre_is_taken(height, width, expected):
    transform = RandomResizedCrop(size=8, max_attempts=0)
    assert window_of(transform, height, width, 0) == expected


@pytest.mark.parametrize(
    ('shape', 'size', 'expected'),
    [((40, 50), 20, (10, 15, 20, 20)), ((41, 50), (20, 10), (10, 20, 20, 10)), ((10, 50), 20, (0, 15, 10, 20))],
)
def test_center_crop(shape, size, expected):
    top, left, high, wide = expected
    out = CenterCrop(size)(sample(*shape))
    assert np.array_equal(out['img'], image(*shape)[top : top + high, left : left + wide])
    assert out['img_shape'] == (high, wide, 3)


def test_random_crop_of_a_padded_image():
    windows = set()
    for seed in range(60):
        out = RandomCrop(size=8, padding=2, pad_val=255)(sample(8, 8, seed))['img']
        assert out.shape == (8, 8, 3)
        inside = out[out[..., 2] == 0]  # rows and columns of the image itself
        windows.add((*inside.min(0), *inside.max(0)))
        assert len(inside) >= 36
    assert len(windows) > 15  # of 25


@pytest.mark.parametrize(
    ('arguments', 'height', 'width', 'first_row'),
    [
        (dict(padding=(1, 0)), 2, 6, [9, 0, 1, 2, 3, 9]),
        (dict(padding=(2, 0, 1, 1)), 3, 7, [9, 9, 0, 1, 2, 3, 9]),
        (dict(padding=(2, 0), padding_mode='edge'), 2, 8, [0, 0, 0, 1, 2, 3, 3, 3]),
        (dict(padding=(2, 0), padding_mode='reflect'), 2, 8, [2, 1, 0, 1, 2, 3, 2, 1]),
        (dict(padding=(2, 0), padding_mode='symmetric'), 2, 8, [1, 0, 0, 1, 2, 3, 3, 2]),
        (dict(pad_if_needed=True), 4, 8, [9] * 8),  # one row and two columns are missing
    ],
)
def test_padding_before_random_crop(arguments, height, width, first_row):
    padded = RandomCrop(size=(3, 6), pad_val=9, **arguments)._pad(image(2, 4))
    assert padded.shape[:2] == (height, width) and padded[0, :, 1].tolist() == first_row


@pytest.mark.parametrize(
    ('shape', 'arguments', 'expected'),
    [
        ((40, 50), dict(size=20), (20, 20)),
        ((40, 50), dict(size=(20, 30)), (20, 30)),
        ((40, 50), dict(size=(24, -1)), (24, 30)),
        ((50, 40), dict(size=(24, -1)), (30, 24)),
        ((33, 50), dict(size=(25, -1)), (25, 37)),
        ((40, 50), dict(size=(40, -1)), (40, 50)),
        ((40, 50), dict(size=(100, -1), adaptive_side='long'), (80, 100)),
        ((50, 40), dict(size=(100, -1), adaptive_side='long'), (100, 80)),
        ((40, 50), dict(size=(100, -1), adaptive_side='width'), (80, 100)),
        ((40, 50), dict(size=(20, -1), adaptive_side='height'), (20, 25)),
    ],
)
def test_resize_in_the_words_of_classification(shape, arguments, expected):
    out = Resize(**arguments)(sample(*shape))
    assert out['img'].shape[:2] == expected
    assert out['scale_factor'][:2].tolist() == pytest.approx([expected[1] / shape[1], expected[0] / shape[0]])


def test_flip_prob_is_flip_ratio():
    assert RandomFlip(flip_prob=0.3).ratios == RandomFlip(flip_ratio=0.3).ratios == [0.3]
    assert RandomFlip(flip_prob=[0.3, 0.1], direction=['horizontal', 'vertical']).ratios == [0.3, 0.1]
    flipped = RandomFlip(flip_prob=1.0)(sample(4, 6))
    assert np.array_equal(flipped['img'], image(4, 6)[:, ::-1])


@pytest.mark.parametrize(
    ('transform', 'arguments', 'message'),
    [
        (Resize, dict(size=20, img_scale=(20, 20)), 'img_scale'),
        (Resize, dict(size=20, keep_ratio=False), 'excludes img_scale'),
        (Resize, dict(size=(20, -1, 3)), r'\(edge, -1\)'),
        (Resize, dict(size=0), 'got 0'),
        (Resize, dict(size=20, adaptive_side='long'), 'adaptive_side'),
        (Resize, dict(img_scale=(20, 20), adaptive_side='long'), 'adaptive_side'),
        (Resize, dict(size=20, adaptive_side='left'), 'left'),
        (RandomFlip, dict(flip_prob=0.5, flip_ratio=0.5), 'give one'),
        (RandomResizedCrop, dict(size=8, efficientnet_style=True), 'efficientnet_style'),
        (RandomResizedCrop, dict(size=8, crop_padding=16), 'crop_padding'),
        (RandomResizedCrop, dict(size=(8, -1)), r'\(8, -1\)'),
        (RandomResizedCrop, dict(size=8, scale=(0.5, 0.1)), 'scale'),
        (RandomResizedCrop, dict(size=8, scale=(0.5, 2.0)), 'scale'),
        (RandomResizedCrop, dict(size=8, interpolation='cubic'), 'cubic'),
        (RandomCrop, dict(), 'needs crop_size'),
        (RandomCrop, dict(size=8, crop_size=(8, 8)), 'for images of one class'),
        (RandomCrop, dict(size=8, allow_negative_crop=True), 'for images of one class'),
        (RandomCrop, dict(crop_size=(8, 8), padding=4), 'to which padding'),
        (RandomCrop, dict(size=8, padding=(1, 2, 3)), 'two or four'),
        (RandomCrop, dict(size=8, padding_mode='wrap'), 'wrap'),
        (CenterCrop, dict(crop_size=8, efficientnet_style=True), 'efficientnet_style'),
        (CenterCrop, dict(crop_size=8, interpolation='bicubic'), 'interpolation'),
    ],
)
def test_what_is_refused(transform, arguments, message):
    with pytest.raises(ValueError, match=message):
        transform(**arguments)


@pytest.mark.parametrize('transform', [RandomResizedCrop(8), CenterCrop(8), RandomCrop(size=8)])
def test_objects_are_not_left_behind(transform):
    with pytest.raises(ValueError, match='cannot transform boxes|images of one class'):
        transform({**sample(20, 20), 'bbox_fields': ['gt_bboxes'], 'gt_bboxes': np.zeros((1, 4))})
