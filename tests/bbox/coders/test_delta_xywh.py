from __future__ import annotations

import math

import pytest
import torch

from mmkit.bbox.coders import DeltaXYWHBBoxCoder, LegacyDeltaXYWHBBoxCoder

PRIORS = torch.tensor([[0.0, 0, 10, 20], [10, 10, 30, 20]])
GTS = torch.tensor([[5.0, 5, 25, 15], [8, 12, 28, 32]])


def test_encode_by_hand() -> None:
    # Prior: centre (5, 10), 10 x 20; box: centre (15, 10), 20 x 10.
    deltas = DeltaXYWHBBoxCoder().encode(PRIORS[:1], GTS[:1])
    torch.testing.assert_close(deltas, torch.tensor([[1, 0, math.log(2), -math.log(2)]]))
    scaled = DeltaXYWHBBoxCoder([0.5, 0, 0, 0], [0.1, 0.1, 0.2, 0.2]).encode(PRIORS[:1], GTS[:1])
    torch.testing.assert_close(scaled, torch.tensor([[5, 0, math.log(2) / 0.2, -math.log(2) / 0.2]]))


@pytest.mark.parametrize(('kind', 'margin'), [(DeltaXYWHBBoxCoder, 0), (LegacyDeltaXYWHBBoxCoder, 0.5)])
def test_decode_undoes_encode(kind: type, margin: float) -> None:
    coder = kind(target_means=(0.1, 0.2, 0.0, 0.1), target_stds=(0.1, 0.1, 0.2, 0.2))
    grown = GTS + margin * torch.tensor([-1, -1, 1, 1])
    torch.testing.assert_close(coder.decode(PRIORS, coder.encode(PRIORS, GTS)), grown)


def test_decode_clips_ratios_both_ways_and_the_border() -> None:
    priors = torch.tensor([[50.0, 50, 66, 66]])
    deltas = torch.tensor([[0, 0, 100, -100.0]])
    wide = DeltaXYWHBBoxCoder(clip_border=False).decode(priors, deltas, max_shape=(80, 90))
    torch.testing.assert_close(wide, torch.tensor([[58 - 500, 58 - 0.128, 58 + 500, 58 + 0.128]]))
    clipped = DeltaXYWHBBoxCoder().decode(priors, deltas, max_shape=(80, 90))
    assert clipped[0, 0] == 0 and clipped[0, 2] == 90


def test_centre_clamp_limits_the_shift_and_only_large_ratios() -> None:
    coder = DeltaXYWHBBoxCoder(add_ctr_clamp=True, ctr_clamp=8)
    decoded = coder.decode(torch.tensor([[0.0, 0, 16, 16]]), torch.tensor([[10.0, -10, 0, -100]]))
    torch.testing.assert_close(decoded, torch.tensor([[8.0, 0, 24, 0]]))


def test_several_classes_and_leading_dimensions() -> None:
    coder = DeltaXYWHBBoxCoder()
    deltas = torch.randn(2, 12, generator=torch.Generator().manual_seed(0))
    together = coder.decode(PRIORS, deltas)
    assert together.shape == (2, 12)
    torch.testing.assert_close(together[:, 4:8], coder.decode(PRIORS, deltas[:, 4:8]))
    batched = coder.decode(PRIORS.expand(3, 2, 4), deltas.expand(3, 2, 12))
    torch.testing.assert_close(batched[1], together)


@pytest.mark.parametrize('kind', [DeltaXYWHBBoxCoder, LegacyDeltaXYWHBBoxCoder])
def test_no_boxes(kind: type) -> None:
    coder = kind()
    assert coder.encode(PRIORS[:0], GTS[:0]).shape == (0, 4)
    assert coder.decode(PRIORS[:0], torch.zeros(0, 8), max_shape=(5, 5)).shape == (0, 8)


def test_legacy_counts_the_last_pixel() -> None:
    coder = LegacyDeltaXYWHBBoxCoder()
    deltas = coder.encode(torch.tensor([[0.0, 0, 9, 9]]), torch.tensor([[0.0, 0, 19, 9]]))  # 10 and 20 wide
    torch.testing.assert_close(deltas, torch.tensor([[0.5, 0, math.log(2), 0]]))
    decoded = coder.decode(torch.tensor([[0.0, 0, 9, 9]]), torch.tensor([[0, 0, 5.0, 0]]), max_shape=(40, 40))
    assert decoded.tolist() == [[0, 0, 39, 9.5]]


def test_means_and_stds_have_four_values() -> None:
    with pytest.raises(ValueError, match='target_stds'):
        DeltaXYWHBBoxCoder(target_stds=(1.0, 1.0))
