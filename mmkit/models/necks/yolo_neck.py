"""Neck of YOLOv3."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import Unpack

from mmkit.errors import InvalidValueError
from mmkit.layers import BaseModule, ConvModule, InitCfg, LayerCfgs
from mmkit.registry import NECKS, Cfg

BN = dict(type='BN', requires_grad=True)
LEAKY = dict(type='LeakyReLU', negative_slope=0.1)


class DetectionBlock(BaseModule):
    """Five convolutions, alternately 1 x 1 and 3 x 3."""

    def __init__(self, in_channels: int, out_channels: int, **cfgs: Unpack[LayerCfgs]) -> None:
        super().__init__()
        double = out_channels * 2
        self.conv1 = ConvModule(in_channels, out_channels, 1, **cfgs)
        self.conv2 = ConvModule(out_channels, double, 3, padding=1, **cfgs)
        self.conv3 = ConvModule(double, out_channels, 1, **cfgs)
        self.conv4 = ConvModule(out_channels, double, 3, padding=1, **cfgs)
        self.conv5 = ConvModule(double, out_channels, 1, **cfgs)

    def forward(self, x: Tensor) -> Tensor:
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4, self.conv5):
            x = conv(x)
        return x


@NECKS.register_module()
class YOLOV3Neck(BaseModule):
    """A top-down path: each level is concatenated with the upsampled coarser one (arXiv:1804.02767).

    Args:
        num_scales: number of levels.
        in_channels: channels of the backbone's levels, coarsest first.
        out_channels: channels of the outputs, coarsest first.
        conv_cfg, norm_cfg, act_cfg: kinds of layer.
        init_cfg: initial weights.
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
        for key, values in (('in_channels', in_channels), ('out_channels', out_channels)):
            if len(values) != num_scales:
                raise InvalidValueError(f'{key} has one value for each of the {num_scales} scales, got {values!r}', key)
        self.num_scales = num_scales
        cfgs = LayerCfgs(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.detect1 = DetectionBlock(in_channels[0], out_channels[0], **cfgs)
        for level in range(1, num_scales):
            self.add_module(f'conv{level}', ConvModule(out_channels[level - 1], out_channels[level], 1, **cfgs))
            self.add_module(
                f'detect{level + 1}',
                DetectionBlock(in_channels[level] + out_channels[level], out_channels[level], **cfgs),
            )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone levels, finest first -> levels of the same sizes, coarsest first."""
        if len(inputs) != self.num_scales:
            raise InvalidValueError(
                f'YOLOV3Neck: num_scales is {self.num_scales}, got {len(inputs)} feature maps', key='num_scales'
            )
        outs = [self.detect1(inputs[-1])]
        for level, finer in enumerate(reversed(inputs[:-1]), 1):
            upsampled = F.interpolate(self.get_submodule(f'conv{level}')(outs[-1]), scale_factor=2)
            outs.append(self.get_submodule(f'detect{level + 1}')(torch.cat([upsampled, finer], 1)))
        return tuple(outs)
