from __future__ import annotations

import pytest
import torch
from torch import nn

from mmkit.layers import ConvModule, DepthwiseSeparableConvModule

X = torch.rand(2, 4, 6, 6)


@pytest.mark.parametrize(
    'norm, names',
    [
        (None, ['conv.weight', 'conv.bias']),
        (dict(type='GN', num_groups=2), ['conv.weight', 'gn.weight', 'gn.bias']),
        (dict(type='BN'), ['conv.weight', 'bn.weight', 'bn.bias']),
        (dict(type='IN', affine=True), ['conv.weight', 'in.weight', 'in.bias']),
    ],
)
def test_names_and_automatic_bias(norm, names):
    assert [name for name, _ in ConvModule(4, 4, 3, norm_cfg=norm).named_parameters()] == names


def test_forward_can_leave_steps_out():
    block = ConvModule(4, 4, 3, padding=1, norm_cfg=dict(type='BN')).eval()
    nn.init.constant_(block.bn.bias, -9)
    assert (block(X) >= 0).all()
    assert (block(X, activate=False) < 0).any()
    assert torch.equal(block(X, activate=False, norm=False), block.conv(X))


def test_order():
    block = ConvModule(4, 8, 1, norm_cfg=dict(type='BN'), order=('norm', 'act', 'conv')).eval()
    assert block.bn.num_features == 4
    assert torch.equal(block(X), block.conv(block.bn(X).relu()))
    with pytest.raises(ValueError, match='order'):
        ConvModule(4, 8, 1, order=('norm', 'conv'))


@pytest.mark.parametrize('mode', ['zeros', 'circular', 'reflect', 'replicate'])
def test_padding_modes(mode):
    assert ConvModule(4, 4, 3, padding=(1, 1), padding_mode=mode)(X).shape == X.shape
    flat = ConvModule(4, 4, 3, padding=1, padding_mode=mode, act_cfg=None)(torch.ones(1, 4, 5, 5))
    edge_is_different = not torch.allclose(flat, flat[:, :, 2:3, 2:3].expand_as(flat), atol=1e-5)
    assert edge_is_different == (mode == 'zeros')


def test_padding_is_vertical_then_horizontal():
    assert ConvModule(4, 4, 1, padding=(1, 2), padding_mode='reflect')(X).shape == (2, 4, 8, 10)


def test_spectral_norm_and_warning():
    block = ConvModule(4, 4, 3, with_spectral_norm=True)
    assert 'conv.weight_orig' in block.state_dict()
    with pytest.warns(UserWarning, match='bias'):
        ConvModule(4, 4, 3, bias=True, norm_cfg=dict(type='BN'))
    with pytest.raises(ValueError, match='bias'):
        ConvModule(4, 4, 3, bias='maybe')


def test_depthwise_separable():
    block = DepthwiseSeparableConvModule(
        4, 8, 3, padding=1, norm_cfg=dict(type='BN'), dw_norm_cfg=None, pw_act_cfg=None
    )
    assert block.depthwise_conv.conv.groups == 4
    assert block.depthwise_conv.norm is None and block.pointwise_conv.norm is not None
    assert block.depthwise_conv.with_activation and not block.pointwise_conv.with_activation
    assert block(X).shape == (2, 8, 6, 6)
