from __future__ import annotations

import pytest
import torch
from torch import nn

from mmkit.layers import ConvModule
from mmkit.layers.fuse import fuse_conv_bn
from mmkit.models.backbones import ResNet


def randomise(model):
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -1, 1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 2)
                nn.init.uniform_(module.bias, -1, 1)
    return model.eval()


def check(model, x, pairs):
    with torch.no_grad():
        before = model(x)
        assert fuse_conv_bn(model) == pairs
        after = model(x)
    for a, b in zip(before, after, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4 * a.abs().max().item())


@pytest.mark.parametrize(
    ('arguments', 'pairs'),
    [
        ({}, 1),
        ({'order': ('act', 'conv', 'norm')}, 1),
        ({'order': ('conv', 'act', 'norm')}, 0),
        ({'order': ('norm', 'conv', 'act'), 'norm_cfg': {'type': 'BN'}}, 0),
        ({'norm_cfg': {'type': 'GN', 'num_groups': 2}}, 0),
        ({'norm_cfg': {'type': 'BN', 'affine': False}}, 1),
        ({'bias': True}, 1),
        ({'groups': 2, 'stride': 2, 'padding_mode': 'circular'}, 1),
        ({'with_spectral_norm': True}, 0),
    ],
)
@pytest.mark.filterwarnings('ignore:a bias before')
def test_conv_modules(arguments, pairs):
    channels = 4
    model = randomise(ConvModule(channels, channels, 3, padding=1, **{'norm_cfg': {'type': 'BN'}, **arguments}))
    check(model, torch.rand(1, channels, 6, 6), pairs)


@pytest.mark.parametrize(('depth', 'pairs'), [(18, 20), (50, 53)])
def test_residual_networks(depth, pairs):
    check(randomise(ResNet(depth, base_channels=8, stem_channels=8)), torch.rand(1, 3, 64, 64), pairs)


def test_a_convolution_shared_by_two_norms():
    model = nn.ModuleList(ConvModule(2, 2, 1, norm_cfg={'type': 'BN'}) for _ in range(2))
    model[1].conv = model[0].conv
    randomise(model)
    x = torch.rand(1, 2, 4, 4)
    with torch.no_grad():
        before = [module(x) for module in model]
        assert fuse_conv_bn(model) == 2
        after = [module(x) for module in model]
    torch.testing.assert_close(after, before)


def test_norms_that_do_more_than_normalise_stay():
    class NormAndReLU(nn.BatchNorm2d):
        def forward(self, x):
            return super().forward(x).relu()

    check(randomise(nn.Sequential(nn.Conv2d(4, 4, 1), NormAndReLU(4))), torch.randn(1, 4, 6, 6), 0)


def test_modules_with_a_form_for_inference_switch_to_it():
    class Branches(nn.Module):
        deployed = False

        def switch_to_deploy(self):
            self.deployed = True

    model = nn.Sequential(Branches())
    assert fuse_conv_bn(model) == 0
    assert model[0].deployed
