from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from mmkit.models.necks import CTResNetNeck


@pytest.mark.parametrize('use_dcn', [False, True])
def test_sizes_and_names(use_dcn):
    neck = CTResNetNeck(8, (6, 4), (4, 4), use_dcn)
    (feat,) = neck([torch.rand(2, 3, 6, 6), torch.rand(2, 8, 3, 3)])
    assert feat.shape == (2, 4, 12, 12)
    assert {'deconv_layers.0.conv.weight', 'deconv_layers.3.bn.bias'} < set(neck.state_dict())
    assert use_dcn == ('deconv_layers.0.conv.conv_offset.weight' in neck.state_dict())


def test_deconvolutions_begin_as_interpolation():
    neck = CTResNetNeck(3, (3,), (4,), use_dcn=False)
    neck.init_weights()
    feat = torch.rand(1, 3, 6, 6)
    enlarged = neck.deconv_layers[1].conv(feat)
    expected = functional.interpolate(feat, scale_factor=2, mode='bilinear', align_corners=False)
    torch.testing.assert_close(enlarged[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1])


def test_lengths_must_agree():
    with pytest.raises(ValueError, match='2 num_deconv_filters and 1 num_deconv_kernels'):
        CTResNetNeck(8, (6, 4), (4,))
