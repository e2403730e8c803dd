from __future__ import annotations

import torch

from mmkit.models.mask_heads.full_image import aligned_upsample, encode_masks
from tests.models.scenes import meta


def test_values_stay_in_the_middle_of_their_cells():
    dense = aligned_upsample(torch.tensor([[[[0.0, 4, 8]]]]), 4)
    assert dense.shape == (1, 1, 4, 12)
    assert dense[0, 0, 0].tolist() == [0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 8]
    feats = torch.rand(1, 2, 3, 3)
    assert aligned_upsample(feats, 1) is feats
    torch.testing.assert_close(aligned_upsample(feats, 2)[..., 1::2, 1::2], feats)


def test_masks_in_pixels_of_either_image():
    probs = torch.zeros(2, 4, 4)
    probs[0, :, :2] = 1
    image = meta(16, 14, scale=2)
    masks = encode_masks(probs, 4, image, 0.5, rescale=False)
    assert masks.to_ndarray().shape == (2, 16, 14) and masks.areas.tolist() == [16 * 8, 0]
    small = encode_masks(probs, 4, image, 0.5, rescale=True)
    assert small.to_ndarray().shape == (2, 8, 7) and small.areas.tolist() == [8 * 4, 0]
    assert encode_masks(probs[:0], 4, image, 0.5, rescale=True).to_ndarray().shape == (0, 8, 7)
