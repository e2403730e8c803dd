"""CSP layers and their blocks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmkit.layers import DepthwiseSeparableConvModule
from mmkit.layers.csp_layer import ChannelAttention, CSPLayer, CSPNeXtBlock, DarknetBottleneck


def test_channel_attention_by_hand():
    attention = ChannelAttention(2)
    nn.init.eye_(attention.fc.weight.data.view(2, 2))
    nn.init.constant_(attention.fc.bias, 1.0)
    x = torch.tensor([[[[1.0, 3.0]], [[-8.0, -4.0]]]])  # means 2 and -6
    assert torch.allclose(attention(x), torch.tensor([[[[1.0, 3.0]], [[-0.0, -0.0]]]]))  # gates 1 and 0
    nn.init.zeros_(attention.fc.bias)
    assert torch.allclose(attention(x)[:, 0], x[:, 0] * (2 / 6 + 0.5))


def test_means_of_channels_do_not_overflow():
    attention = ChannelAttention(1).half()
    seen = []
    attention.fc.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.autocast('cpu', torch.bfloat16):
        attention(torch.full((1, 1, 2, 2), 60000.0))
    assert seen[0].dtype == torch.float32 and seen[0].item() == 60000


@pytest.mark.parametrize('block', [DarknetBottleneck, CSPNeXtBlock])
def test_identity_needs_equal_channels(block):
    assert (
        block(4, 4).add_identity and not block(4, 6).add_identity and not block(4, 4, add_identity=False).add_identity
    )
    x = torch.rand(1, 4, 8, 8)
    layer = block(4, 4, norm_cfg=None).eval()
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    assert torch.equal(layer(x), x)


def test_block_of_cspnext():
    block = CSPNeXtBlock(4, 6, expansion=0.5, use_depthwise=True, kernel_size=7)
    assert isinstance(block.conv1, DepthwiseSeparableConvModule)
    assert block.conv2.depthwise_conv.conv.weight.shape == (3, 1, 7, 7)
    assert block(torch.rand(2, 4, 5, 5)).shape == (2, 6, 5, 5)


def test_csp_layer_learns():
    layer = CSPLayer(4, 8, expand_ratio=0.25, num_blocks=2, use_cspnext_block=True, channel_attention=True)
    assert layer.attention.fc.in_channels == 4 and len(layer.blocks) == 2
    layer(torch.rand(2, 4, 4, 4)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())
    assert CSPLayer(4, 8).attention is None
