from __future__ import annotations

import torch
from torch.nn import functional as F

from mmkit.ops import deform_conv2d


def test_zero_offset_is_a_plain_convolution():
    torch.manual_seed(0)
    x, weight = torch.rand(1, 2, 5, 6), torch.rand(3, 2, 3, 3)
    out = deform_conv2d(x, torch.zeros(1, 18, 3, 3), weight, None, (2, 2), (1, 1))
    assert torch.allclose(out, F.conv2d(x, weight, stride=2, padding=1), atol=1e-5)


def test_offset_is_y_then_x_and_mask_scales():
    x = torch.arange(9.0).view(1, 1, 3, 3)
    offset = torch.zeros(1, 2, 3, 3)
    offset[:, 1] = 1  # one pixel to the right
    out = deform_conv2d(x, offset, torch.ones(1, 1, 1, 1), mask=torch.full((1, 1, 3, 3), 0.5))
    assert out[0, 0, 0].tolist() == [0.5, 1.0, 0.0]


def test_half_precision_is_computed_in_single():
    x, weight = torch.rand(1, 2, 4, 4).bfloat16(), torch.rand(3, 2, 3, 3)
    out = deform_conv2d(x, torch.zeros(1, 18, 4, 4), weight, padding=(1, 1))
    assert out.dtype is torch.bfloat16
    torch.testing.assert_close(out, F.conv2d(x.float(), weight, padding=1).bfloat16())
