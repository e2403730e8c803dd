"""Squeeze-and-excitation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from mmkit.layers import BaseModule, ConvModule, InitCfg
from mmkit.models.backbones.mobilenet_v2 import make_divisible
from mmkit.registry import Cfg


class SELayer(BaseModule):
    """Squeeze-and-excitation: channels gated by a bottleneck over their means (arXiv:1709.01507).

    Args:
        channels: of the input and the output.
        squeeze_channels: of the bottleneck; None is `channels // ratio`, rounded to a multiple of `divisor`.
        ratio, divisor: see `squeeze_channels`.
        bias: of the two 1 x 1 convolutions; 'auto' is True, since no norm follows.
        conv_cfg: kind of convolution.
        act_cfg: activations after the first and the second convolution, or one for both.
        init_cfg: initial weights.
    """

    def __init__(
        self,
        channels: int,
        squeeze_channels: int | None = None,
        ratio: int = 16,
        divisor: int = 8,
        bias: bool | str = 'auto',
        conv_cfg: Cfg | None = None,
        act_cfg: Cfg | Sequence[Cfg] = (dict(type='ReLU'), dict(type='Sigmoid')),
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(init_cfg)
        first, second = (act_cfg, act_cfg) if isinstance(act_cfg, Mapping) else act_cfg
        if squeeze_channels is None:
            squeeze_channels = make_divisible(channels // ratio, divisor)
        self.conv1 = ConvModule(channels, squeeze_channels, 1, bias=bias, conv_cfg=conv_cfg, act_cfg=first)
        self.conv2 = ConvModule(squeeze_channels, channels, 1, bias=bias, conv_cfg=conv_cfg, act_cfg=second)

    def forward(self, x: Tensor) -> Tensor:
        gates: Tensor = self.conv2(self.conv1(x.mean((2, 3), keepdim=True)))  # (B, C, 1, 1)
        return x * gates
