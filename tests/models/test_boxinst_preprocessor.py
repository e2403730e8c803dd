from __future__ import annotations

import pytest
import torch

from mmkit.models.boxinst_preprocessor import BoxInstBatch, BoxInstDataPreprocessor, rgb_pixels, rgb_to_lab
from mmkit.structures import Batch
from tests.models.scenes import meta


@pytest.mark.parametrize(
    ('rgb', 'lab'),
    [
        ((255, 255, 255), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((3, 3, 3), (0.82, 0, 0)),  # on the straight part of both curves
    ],
)
def test_known_colours(rgb, lab):
    color = rgb_to_lab(torch.tensor(rgb, dtype=torch.float32).reshape(1, 3, 1, 1)).flatten()
    assert color.tolist() == pytest.approx(lab, abs=0.02)


def preprocessor(**arguments):
    cfg = dict(mean=[100.0, 110, 120], std=[50.0, 60, 70], pairwise_dilation=1, bottom_pixels_removed=0)
    return BoxInstDataPreprocessor(**{**cfg, **arguments})


def batch(imgs):
    return Batch(imgs=imgs, metas=[meta(16, 16)])


def halves():
    """Red at the left, green at the right, in the order blue, green, red."""
    imgs = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    imgs[0, 2, :, :8] = 255
    imgs[0, 1, :, 8:] = 255
    return imgs


def test_neighbours_of_a_like_colour():
    made = preprocessor(bgr_to_rgb=True)(batch(halves()))
    assert isinstance(made, BoxInstBatch) and made.similar.shape == (1, 8, 4, 4)
    # Neighbours row by row: above left, above, above right, left, right, below left, below, below right.
    assert made.similar[0, :, 1, 1].tolist() == [1, 1, 0, 1, 0, 1, 1, 0]
    assert made.similar[0, :, 1, 0].tolist() == [0, 1, 1, 0, 1, 0, 1, 1]  # nothing beyond the border


def test_rows_at_the_bottom_and_padding_are_nobodys_neighbours():
    below = preprocessor(bottom_pixels_removed=2)(batch(halves())).similar[0, 6]
    assert below[:2].all() and not below[2:].any()
    narrow = batch(halves())
    narrow.metas[0].img_shape = (16, 10)  # the middle of the third column is at 10
    assert not preprocessor()(narrow).similar[0, 4, :, 1:].any()
    right = preprocessor()(batch(torch.zeros_like(halves()))).similar[0, 4]
    assert right[:, :3].all()


@pytest.mark.parametrize('bgr_to_rgb', [True, False])
def test_pixels_are_recovered(bgr_to_rgb):
    imgs = torch.randint(0, 256, (1, 3, 16, 16), dtype=torch.uint8)
    made = preprocessor(bgr_to_rgb=bgr_to_rgb)(batch(imgs))
    torch.testing.assert_close(rgb_pixels(made), imgs.flip(1).float())


def test_images_to_predict_have_no_pairs():
    assert type(preprocessor().eval()(batch(halves()))) is Batch
