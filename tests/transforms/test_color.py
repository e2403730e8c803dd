from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmkit.transforms import (
    BrightnessTransform,
    ColorTransform,
    ContrastTransform,
    EqualizeTransform,
    Normalize,
    PhotoMetricDistortion,
    YOLOXHSVRandomAug,
)


def test_normalize():
    img = np.array([[[10, 20, 30]]], np.uint8)
    sample = Normalize(mean=[1, 2, 3], std=[1, 2, 4])(dict(img=img))
    assert sample['img'].tolist() == [[[29, 9, 1.75]]] and sample['img'].dtype == np.float32
    assert img.tolist() == [[[10, 20, 30]]]
    assert sample['img_norm_cfg']['to_rgb'] and sample['img_norm_cfg']['std'].tolist() == [1, 2, 4]
    assert Normalize([0] * 3, [1] * 3, to_rgb=False)(dict(img=img))['img'].tolist() == [[[10, 20, 30]]]
    for std in ([1, 1], [1, 1, 0]):
        with pytest.raises(ValueError, match='one number a channel'):
            Normalize([0, 0, 0], std)
    with pytest.raises(ValueError, match='mean and std have 2 numbers, the image has 3 channels'):
        Normalize([0, 0], [1, 1])(dict(img=img))


def distorted(num=200, **arguments):
    img = np.tile(np.array([[[40, 80, 120]]], np.uint8), (2, 2, 1))
    step = PhotoMetricDistortion(**arguments)
    for seed in range(num):
        out = step(dict(img=img, rng=np.random.default_rng(seed)))['img']
        assert out.dtype == np.float32 and out.shape == (2, 2, 3)
        yield out[0, 0]


NOTHING = dict(brightness_delta=0, contrast_range=(1, 1), saturation_range=(1, 1), hue_delta=0)


def test_only_channels_change_places_if_all_ranges_are_points():
    seen = {tuple(round(float(value)) for value in pixel) for pixel in distorted(**NOTHING)}
    assert len(seen) == 6 and {tuple(sorted(pixel)) for pixel in seen} == {(40, 80, 120)}


def test_brightness_adds_and_contrast_multiplies():
    sums = [pixel.sum() - 240 for pixel in distorted(**{**NOTHING, 'brightness_delta': 10})]
    assert -30.1 <= min(sums) < -20 and 20 < max(sums) <= 30.1
    assert np.mean(np.abs(sums) < 1e-3) == pytest.approx(0.5, abs=0.12)
    factors = [pixel.sum() / 240 for pixel in distorted(**{**NOTHING, 'contrast_range': (0.5, 2)})]
    assert 0.499 <= min(factors) < 0.7 and 1.5 < max(factors) <= 2.01


def test_saturation_and_hue_leave_the_brightest_channel():
    gaps = []
    for pixel in distorted(**{**NOTHING, 'saturation_range': (0.5, 1.4), 'hue_delta': 20}):
        assert pixel.max() == pytest.approx(120, abs=0.01)
        gaps.append(pixel.max() - pixel.min())
    assert 39 <= min(gaps) < 60 and 100 < max(gaps) <= 113


def test_yolox_shifts_hue_saturation_and_value():
    img = np.tile(np.array([[[40, 80, 120]]], np.uint8), (2, 2, 1))  # hue 15 of 180, saturation 170, value 120
    for arguments, channel, limit in (((5, 0, 0), 0, 5), ((0, 30, 0), 1, 30), ((0, 0, 30), 2, 30)):
        step, seen = YOLOXHSVRandomAug(*arguments), []
        for seed in range(60):
            out = step(dict(img=img, rng=np.random.default_rng(seed)))['img']
            assert out.dtype == np.uint8
            hsv = cv2.cvtColor(out, cv2.COLOR_BGR2HSV)[0, 0].astype(int) - [15, 170, 120]
            assert np.abs(np.delete(hsv, channel)).max() <= 2
            seen.append(hsv[channel])
        assert -limit - 1 <= min(seen) < 0 < max(seen) <= limit + 1 and seen.count(0) >= 20
    with pytest.raises(TypeError, match='uint8'):
        YOLOXHSVRandomAug()(dict(img=img.astype(np.float32)))


def pixel(step, value=(40, 80, 120), size=2):
    img = np.tile(np.array([[value]], np.uint8), (size, size, 1))
    return step(dict(img=img, rng=np.random.default_rng(0)))['img'][0, 0].tolist()


def test_enhancements_blend_with_a_poorer_image():
    grey = 0.114 * 40 + 0.587 * 80 + 0.299 * 120  # 87.4
    assert pixel(BrightnessTransform(level=5, prob=1)) == [40, 80, 120]  # a factor of 1
    assert pixel(BrightnessTransform(level=10, prob=1)) == [76, 152, 228]
    assert pixel(BrightnessTransform(level=10, prob=1), (200, 10, 10)) == [255, 19, 19]
    assert pixel(ColorTransform(level=0, prob=1)) == pytest.approx([0.1 * v + 0.9 * grey for v in (40, 80, 120)], abs=1)
    assert pixel(ContrastTransform(level=10, prob=1)) == pytest.approx([0, 73, 149], abs=1)
    assert pixel(ColorTransform(level=0, prob=0)) == [40, 80, 120]
    half = np.tile(np.array([[[0] * 3], [[100] * 3]], np.uint8), (1, 2, 1))
    assert ContrastTransform(level=0, prob=1)(dict(img=half))['img'][:, 0, 0].tolist() == [45, 55]


def test_equalize_spreads_intensities():
    img = np.tile(np.array([100, 101, 102, 103], np.uint8)[:, None, None], (1, 255, 3))
    assert EqualizeTransform(prob=1)(dict(img=img))['img'][:, 0, 0].tolist() == [0, 85, 170, 255]
    assert EqualizeTransform(prob=0)(dict(img=img))['img'] is img
    with pytest.raises(TypeError, match='uint8'):
        EqualizeTransform(prob=1)(dict(img=img.astype(np.float32)))


@pytest.mark.parametrize('kind', [BrightnessTransform, ColorTransform, ContrastTransform])
def test_wrong_enhancements(kind):
    with pytest.raises(ValueError, match=f'{kind.__name__}.level'):
        kind(level=12)
    with pytest.raises(ValueError, match=f'{kind.__name__}.prob'):
        kind(level=2, prob=2)
