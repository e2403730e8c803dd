"""Neck of YOLOv3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mmkit.layers import BaseModule, ConvModule
from mmkit.layers.init import InitCfg
from mmkit.registry import NECKS

Cfg = Mapping[str, Any]
BN = dict(type='BN', requires_grad=True)
LEAKY = dict(type='LeakyReLU', negative_slope=0.1)


class DetectionBlock(BaseModule):
    """Five convolutions, 1 x 1 and 3 x 3 in turn."""

    def __init__(self, in_channels: int, out_channels: int, conv_cfg: Cfg | None, norm_cfg: Cfg, act_cfg: Cfg) -> None:
        super().__init__()
        kinds: dict[str, Any] = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        double = out_channels * 2
        self.conv1 = ConvModule(in_channels, out_channels, 1, **kinds)
        self.conv2 = ConvModule(out_channels, double, 3, padding=1, **kinds)
        self.conv3 = ConvModule(double, out_channels, 1, **kinds)
        self.conv4 = ConvModule(out_channels, double, 3, padding=1, **kinds)
        self.conv5 = ConvModule(double, out_channels, 1, **kinds)

    def forward(self, x: Tensor) -> Tensor:
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4, self.conv5):
            x = conv(x)
        return x


@NECKS.register_module()
class YOLOV3Neck(BaseModule):
    """From the coarsest level down, each joined with the upsampled one before (arXiv:1804.02767).

    Args:
        num_scales: levels.
        in_channels: channels of the backbone's levels, coarsest first.
        out_channels: channels of the outputs, coarsest first.
        conv_cfg, norm_cfg, act_cfg: kinds of layer.
        init_cfg: how the weights start.
    """

    def __init__(
        self,
        num_scales: int,
        in_channels: Sequence[int],
        out_channels: Sequence[int],
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg = BN,
        act_cfg: Cfg = LEAKY,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(init_cfg)
        if not len(in_channels) == len(out_channels) == num_scales:
            raise ValueError(
                f'YOLOV3Neck: in_channels and out_channels have one value for each of the {num_scales} '
                f'scales, got {in_channels!r} and {out_channels!r}'
            )
        self.num_scales = num_scales
        kinds: dict[str, Any] = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.detect1 = DetectionBlock(in_channels[0], out_channels[0], **kinds)
        for level in range(1, num_scales):
            self.add_module(f'conv{level}', ConvModule(out_channels[level - 1], out_channels[level], 1, **kinds))
            self.add_module(
                f'detect{level + 1}',
                DetectionBlock(in_channels[level] + out_channels[level], out_channels[level], **kinds),
            )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone levels, finest first -> levels of the same sizes, coarsest first."""
        if len(inputs) != self.num_scales:
            raise ValueError(f'YOLOV3Neck: num_scales is {self.num_scales}, got {len(inputs)} feature maps')
        outs = [self.detect1(inputs[-1])]
        for level, finer in enumerate(reversed(inputs[:-1]), 1):
            up = F.interpolate(getattr(self, f'conv{level}')(outs[-1]), scale_factor=2)
            outs.append(getattr(self, f'detect{level + 1}')(torch.cat([up, finer], 1)))
        return tuple(outs)
