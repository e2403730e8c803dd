from __future__ import annotations

import numpy as np
import pytest

from mmkit.errors import InvalidTypeError
from mmkit.transforms import (
    AutoContrast,
    BrightnessTransform,
    Invert,
    Posterize,
    Sharpness,
    Solarize,
    SolarizeAdd,
)


def sample_of(*values, seed=0):
    img = np.repeat(np.array(values, np.uint8)[None, :, None], 3, axis=2)
    return dict(img=img, rng=np.random.default_rng(seed))


def row(sample):
    return sample['img'][0, :, 0].tolist()


def test_operations_of_a_known_level():
    assert row(Posterize(level=5)(sample_of(255, 100))) == [192, 64]  # 2 bits
    assert row(Posterize(level=0)(sample_of(255, 100))) == [0, 0]
    assert row(Solarize(level=5)(sample_of(127, 128, 255))) == [127, 127, 0]  # from 128 on
    assert row(SolarizeAdd(level=10)(sample_of(0, 127, 128))) == [110, 237, 128]
    assert row(Invert()(sample_of(0, 200))) == [255, 55]
    assert row(AutoContrast()(sample_of(100, 150, 200))) == [0, 127, 254]
    assert row(BrightnessTransform(level=5, prob=1.0, max_mag=3.9)(sample_of(10, 100))) == [20, 200]


def test_sharpness_moves_away_from_the_smoothed_image():
    img = np.zeros((5, 5, 3), np.uint8)
    img[2, 2] = 130
    smooth = Sharpness(level=0)(dict(img=img.copy()))['img']
    sharp = Sharpness(level=10)(dict(img=img.copy()))['img']
    assert smooth[2, 2, 0] == 58 and smooth[1, 1, 0] == 9  # 0.1 * 130 + 0.9 * 50, 0.9 * 10
    assert sharp[2, 2, 0] == 202 and sharp[1, 1, 0] == 0


def test_a_level_may_be_drawn():
    drawn = {row(Solarize()(sample_of(100, seed=seed)))[0] for seed in range(20)}
    assert drawn == {100, 155}
    kept = [row(Invert(prob=0.5)(sample_of(0, seed=seed)))[0] for seed in range(40)]
    assert 8 < kept.count(0) < 32


@pytest.mark.parametrize('kind', [AutoContrast, Invert, Posterize, Solarize, SolarizeAdd])
def test_pixels_are_uint8(kind):
    with pytest.raises(InvalidTypeError, match='uint8'):
        kind()(dict(img=np.zeros((2, 2, 3), np.float32)))
