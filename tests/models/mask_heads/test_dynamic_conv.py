from __future__ import annotations

import torch
from torch.nn import functional

from mmkit.models.mask_heads.dynamic_conv import dynamic_convs, num_dynamic_params


def test_each_object_has_its_own_convolutions():
    torch.manual_seed(0)
    widths = (3, 2, 1)
    assert num_dynamic_params(widths) == 6 + 2 + 2 + 1
    feats, params = torch.randn(4, 3, 5, 6), torch.randn(4, 11, requires_grad=True)
    masks = dynamic_convs(feats, params, widths)
    assert masks.shape == (4, 1, 5, 6)
    for mask, feat, row in zip(masks, feats, params):
        hidden = functional.conv2d(feat[None], row[:6].view(2, 3, 1, 1), row[8:10]).relu()
        expected = functional.conv2d(hidden, row[6:8].view(1, 2, 1, 1), row[10:])
        torch.testing.assert_close(mask[None], expected)
    masks.sum().backward()
    assert params.grad.abs().sum(1).gt(0).all()


def test_no_objects():
    assert dynamic_convs(torch.zeros(0, 3, 5, 6), torch.zeros(0, 11), (3, 2, 1)).shape == (0, 1, 5, 6)
