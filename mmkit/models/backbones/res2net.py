"""Res2Net."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from mmkit.errors import InvalidValueError
from mmkit.layers import build_norm_layer
from mmkit.models.backbones.residual_blocks import BlockFactory, BlockSettings, Bottleneck
from mmkit.models.backbones.resnet import ResNet, ResNetV1dOptions
from mmkit.registry import BACKBONES


class Bottle2neck(Bottleneck):
    """A bottleneck whose 3 x 3 convolution is a chain of small ones, each for one split of the channels.

    In the first block of a stage the splits are not chained, and the last one is pooled.

    Args: those of ResidualBlock, where the width counts the channels of all splits, and
        scales: number of splits.
    """

    def __init__(
        self, in_channels: int, stride: int, downsample: nn.Module | None, settings: BlockSettings, *, scales: int
    ) -> None:
        self.scales, self.first = scales, downsample is not None
        super().__init__(in_channels, stride, downsample, settings)

    def build_middle(self, stride: int) -> None:
        width = self.settings.width // self.scales
        self.convs = nn.ModuleList([self.conv3x3(width, width, stride) for _ in range(self.scales - 1)])
        self.bns = nn.ModuleList([build_norm_layer(self.settings.norm_cfg, width)[1] for _ in range(self.scales - 1)])
        self.pool = nn.AvgPool2d(3, stride, padding=1) if self.first and stride != 1 else nn.Identity()

    def middle(self, x: Tensor) -> Tensor:
        *splits, last = x.chunk(self.scales, 1)
        outs: list[Tensor] = []
        for split, conv, norm in zip(splits, self.convs, self.bns, strict=True):
            chained = split if self.first or not outs else outs[-1] + split
            outs.append(self.relu(norm(conv(chained.contiguous()))))
        return torch.cat([*outs, self.pool(last)], 1)


@BACKBONES.register_module()
class Res2Net(ResNet):
    """Residual network with several scales per block (arXiv:1904.01169).

    Args: those of ResNet (depth 50, 101 or 152), and
        scales: splits of the channels in a block, at least 2.
        base_width: channels of a split in the first stage.
        avg_down: must be True; projections always stride by average pooling.
    """

    arch = {
        50: (Bottle2neck, (3, 4, 6, 3)),
        101: (Bottle2neck, (3, 4, 23, 3)),
        152: (Bottle2neck, (3, 8, 36, 3)),
    }

    def __init__(
        self,
        depth: int,
        scales: int = 4,
        base_width: int = 26,
        deep_stem: bool = True,
        avg_down: bool = True,
        **options: Unpack[ResNetV1dOptions],
    ) -> None:
        if scales < 2:
            raise InvalidValueError(f'Res2Net: scales is at least 2 (1 would be a ResNet), got {scales}', key='scales')
        if not avg_down:
            raise InvalidValueError(
                'Res2Net: avg_down must be True, projections always stride by average pooling', key='avg_down'
            )
        self.scales, self.base_width = scales, base_width
        super().__init__(depth, deep_stem=deep_stem, avg_down=avg_down, **options)

    def stage_width(self, stage: int) -> tuple[int, int, int]:
        planes, out_channels, groups = super().stage_width(stage)
        return int(planes * (self.base_width / self.base_channels)) * self.scales, out_channels, groups

    def block_factory(self) -> BlockFactory:
        return partial(Bottle2neck, scales=self.scales)
