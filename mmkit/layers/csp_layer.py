"""Cross-stage partial layer."""

from __future__ import annotations

import torch
from torch import Tensor

from mmkit.layers.base_module import BaseModule, Sequential
from mmkit.layers.conv_module import ConvModule, DepthwiseSeparableConvModule, LayerCfgs
from mmkit.layers.init import InitCfg
from mmkit.registry import Cfg

BN = dict(type='BN', momentum=0.03, eps=0.001)
SWISH = dict(type='Swish')


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


class CSPLayer(BaseModule):
    """Half of the channels go through a chain of blocks, half around it (arXiv:1911.11929).

    Args:
        in_channels, out_channels: of the layer.
        expand_ratio: channels of each half, as a fraction of `out_channels`.
        num_blocks: length of the chain.
        add_identity, use_depthwise: see DarknetBottleneck.
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
        blocks = [
            DarknetBottleneck(half, half, expansion=1.0, add_identity=add_identity, use_depthwise=use_depthwise, **cfgs)
            for _ in range(num_blocks)
        ]
        self.blocks = Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        x = self.final_conv(torch.cat([self.blocks(self.main_conv(x)), self.short_conv(x)], 1))
        return x
