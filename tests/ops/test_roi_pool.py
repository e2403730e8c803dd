from __future__ import annotations

import pytest
import torch

from mmkit.ops import RoIAlign, RoIPool

RAMP = torch.arange(16.0).view(1, 1, 4, 4)


def test_roi_align_averages_samples():
    whole = torch.tensor([[0.0, 0, 0, 4, 4]])
    out = RoIAlign(2, 1.0, sampling_ratio=2)(RAMP, whole)
    # samples at pixel centres: the mean of each 2 x 2 quarter
    assert out.flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert RoIAlign([2, 1], 1.0, sampling_ratio=2)(RAMP, whole).shape == (1, 1, 2, 1)


def test_roi_align_max_takes_the_largest_sample():
    out = RoIAlign(2, 1.0, sampling_ratio=2, pool_mode='max')(RAMP, torch.tensor([[0.0, 0, 0, 4, 4]]))
    assert out.flatten().tolist() == [5.0, 7.0, 13.0, 15.0]


def test_spatial_scale_and_empty():
    layer = RoIAlign(output_size=2, spatial_scale=0.5, sampling_ratio=2)
    assert layer(RAMP, torch.tensor([[0.0, 0, 0, 8, 8]])).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert layer(RAMP, torch.zeros(0, 5)).shape == (0, 1, 2, 2)


def test_roi_pool():
    assert RoIPool(2)(RAMP, torch.tensor([[0.0, 0, 0, 3, 3]])).flatten().tolist() == [5.0, 7.0, 13.0, 15.0]


def test_wrong_arguments():
    with pytest.raises(ValueError, match='sum'):
        RoIAlign(7, pool_mode='sum')
    with pytest.raises(ValueError, match='sampling_ratio'):
        RoIAlign(7, pool_mode='max')
    with pytest.raises(ValueError, match='output_size'):
        RoIPool((7, 7, 7))
