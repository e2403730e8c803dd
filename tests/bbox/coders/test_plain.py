from __future__ import annotations

import math

import pytest
import torch

from mmkit.bbox.coders import DistancePointBBoxCoder, PseudoBBoxCoder, TBLRBBoxCoder, YOLOBBoxCoder

PRIORS = torch.tensor([[0.0, 0, 10, 20], [10, 10, 30, 20]])
GTS = torch.tensor([[2.0, 4, 12, 20], [12, 8, 32, 28]])


def test_yolo_by_hand_and_back() -> None:
    coder = YOLOBBoxCoder()
    # Centre (7, 12) from (5, 10), 10 x 16 from 10 x 20.
    targets = coder.encode(PRIORS, GTS, stride=16)
    torch.testing.assert_close(targets[0], torch.tensor([2 / 16 + 0.5, 2 / 16 + 0.5, 0, math.log(0.8)]))
    torch.testing.assert_close(coder.decode(PRIORS, targets, stride=16), GTS)
    strides = torch.tensor([16, 32])
    torch.testing.assert_close(coder.decode(PRIORS, coder.encode(PRIORS, GTS, strides), strides), GTS)
    assert coder.encode(PRIORS, GTS + 100, stride=16)[0, 0] == 1 - 1e-6


def test_tblr_by_hand_and_back() -> None:
    # Centre (5, 10): top 6, bottom 10 over height 20; left 3, right 7 over width 10.
    targets = TBLRBBoxCoder(normalizer=1.0).encode(PRIORS, GTS)
    torch.testing.assert_close(targets[0], torch.tensor([0.3, 0.5, 0.3, 0.7]))
    for normalizer in (4.0, [1.0, 2.0, 3.0, 4.0]):
        coder = TBLRBBoxCoder(normalizer)
        torch.testing.assert_close(coder.decode(PRIORS, coder.encode(PRIORS, GTS)), GTS)
    decoded = TBLRBBoxCoder(1.0).decode(PRIORS, targets, max_shape=(18, 11))
    torch.testing.assert_close(decoded[0], torch.tensor([2.0, 4, 11, 18]))
    unclipped = TBLRBBoxCoder(1.0, clip_border=False).decode(PRIORS, targets, max_shape=(18, 11))
    torch.testing.assert_close(unclipped, GTS)
    with pytest.raises(ValueError, match='normalizer'):
        TBLRBBoxCoder([1.0, 2.0])


def test_distances_and_back() -> None:
    points = torch.tensor([[5.0, 10], [20, 15]])
    coder = DistancePointBBoxCoder()
    assert coder.encode(points, GTS)[0].tolist() == [3, 6, 7, 10]
    torch.testing.assert_close(coder.decode(points, coder.encode(points, GTS)), GTS)
    assert coder.decode(points, coder.encode(points, GTS), max_shape=(18, 11))[0].tolist() == [2, 4, 11, 18]
    unclipped = DistancePointBBoxCoder(clip_border=False).decode(points, coder.encode(points, GTS), max_shape=(9, 9))
    torch.testing.assert_close(unclipped, GTS)


def test_pseudo_coder_changes_nothing() -> None:
    coder = PseudoBBoxCoder()
    assert coder.encode(PRIORS, GTS) is GTS
    assert coder.decode(PRIORS, GTS) is GTS
