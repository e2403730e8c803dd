"""Cross-stage partial layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmkit.layers.base_module import BaseModule, Sequential
from mmkit.layers.conv_module import ConvModule, DepthwiseSeparableConvModule, LayerCfgs
from mmkit.layers.init import InitCfg
from mmkit.registry import Cfg

BN = dict(type='BN', momentum=0.03, eps=0.001)
SWISH = dict(type='Swish')
SILU = dict(type='SiLU')


class DarknetBottleneck(BaseModule):
    """A 1 x 1 and a 3 x 3 convolution.

    Args:
        in_channels, out_channels: of the block.
        expansion: channels inside, as a fraction of `out_channels`.
        add_identity: add the input, where shapes agree.
        use_depthwise: make the 3 x 3 depthwise separable.
        conv_cfg, norm_cfg, act_cfg: kinds of layer.
        init_cfg: initial weights.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        expansion: float = 0.5,
        add_identity: bool = True,
        use_depthwise: bool = False,
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg | None = BN,
        act_cfg: Cfg | None = SWISH,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(init_cfg)
        inside = int(out_channels * expansion)
        conv = DepthwiseSeparableConvModule if use_depthwise else ConvModule
        cfgs = LayerCfgs(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.conv1 = ConvModule(in_channels, inside, 1, **cfgs)
        self.conv2 = conv(inside, out_channels, 3, padding=1, **cfgs)
        self.add_identity = add_identity and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv2(self.conv1(x))
        return out + x if self.add_identity else out


class CSPNeXtBlock(BaseModule):
    """A 3 x 3 convolution, and a depthwise separable one with a large kernel (RTMDet, arXiv:2212.07784).

    Args:
        in_channels, out_channels: of the block.
        expansion: channels inside, as a fraction of `out_channels`.
        add_identity: add the input, where shapes agree.
        use_depthwise: make the 3 x 3 depthwise separable, too.
        kernel_size: of the second convolution.
        conv_cfg, norm_cfg, act_cfg: kinds of layer.
        init_cfg: initial weights.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        expansion: float = 0.5,
        add_identity: bool = True,
        use_depthwise: bool = False,
        kernel_size: int = 5,
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg | None = BN,
        act_cfg: Cfg | None = SILU,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(init_cfg)
        inside = int(out_channels * expansion)
        conv = DepthwiseSeparableConvModule if use_depthwise else ConvModule
        cfgs = LayerCfgs(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.conv1 = conv(in_channels, inside, 3, padding=1, **cfgs)
        self.conv2 = DepthwiseSeparableConvModule(inside, out_channels, kernel_size, padding=kernel_size // 2, **cfgs)
        self.add_identity = add_identity and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv2(self.conv1(x))
        return out + x if self.add_identity else out


class ChannelAttention(BaseModule):
    """Channels gated by a linear map of their means (RTMDet, arXiv:2212.07784).

    Args:
        channels: of the input and the output.
        init_cfg: initial weights.
    """

    def __init__(self, channels: int, init_cfg: InitCfg = None) -> None:
        super().__init__(init_cfg)
        self.fc = nn.Conv2d(channels, channels, 1)
        self.act = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # a mean over a large map overflows half precision
            means = x.float().mean((2, 3), keepdim=True)  # (B, C, 1, 1)
        gates: Tensor = self.act(self.fc(means))
        return x * gates


class CSPLayer(BaseModule):
    """Half of the channels go through a chain of blocks, half around it (arXiv:1911.11929).

    Args:
        in_channels, out_channels: of the layer.
        expand_ratio: channels of each half, as a fraction of `out_channels`.
        num_blocks: length of the chain.
        add_identity, use_depthwise: see DarknetBottleneck.
        use_cspnext_block: make the chain of `CSPNeXtBlock`s instead of `DarknetBottleneck`s.
        channel_attention: gate the channels of both halves.
        conv_cfg, norm_cfg, act_cfg: kinds of layer.
        init_cfg: initial weights.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        expand_ratio: float = 0.5,
        num_blocks: int = 1,
        add_identity: bool = True,
        use_depthwise: bool = False,
        use_cspnext_block: bool = False,
        channel_attention: bool = False,
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg | None = BN,
        act_cfg: Cfg | None = SWISH,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(init_cfg)
        half = int(out_channels * expand_ratio)
        cfgs = LayerCfgs(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.main_conv = ConvModule(in_channels, half, 1, **cfgs)
        self.short_conv = ConvModule(in_channels, half, 1, **cfgs)
        self.final_conv = ConvModule(2 * half, out_channels, 1, **cfgs)
        block = CSPNeXtBlock if use_cspnext_block else DarknetBottleneck
        blocks = [
            block(half, half, expansion=1.0, add_identity=add_identity, use_depthwise=use_depthwise, **cfgs)
            for _ in range(num_blocks)
        ]
        self.blocks = Sequential(*blocks)
        self.attention = ChannelAttention(2 * half) if channel_attention else None

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.blocks(self.main_conv(x)), self.short_conv(x)], 1)
        if self.attention is not None:
            x = self.attention(x)
        out: Tensor = self.final_conv(x)
        return out
