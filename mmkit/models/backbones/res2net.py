"""Res2Net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.layers import build_norm_layer
from mmkit.layers.init import InitCfg
from mmkit.models.backbones.residual_blocks import BlockSettings, Bottleneck, ResidualBlock
from mmkit.models.backbones.resnet import BN, ResNet
from mmkit.registry import BACKBONES

Cfg = Mapping[str, Any]


class Bottle2neck(Bottleneck):
    """A bottleneck whose middle is a chain of small convolutions, each on its share of the channels.

    Args: those of ResidualBlock, where `width` counts the channels of all shares, and
        scales: number of shares.
        first: of its stage: the shares are not chained, and the last one is pooled.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        out_channels: int,
        stride: int,
        dilation: int,
        downsample: nn.Module | None,
        groups: int,
        settings: BlockSettings,
        scales: int,
        first: bool,
    ) -> None:
        self.scales, self.first = scales, first
        super().__init__(in_channels, width, out_channels, stride, dilation, downsample, groups, settings)

    def build_middle(self, stride: int) -> None:
        share = self.width // self.scales
        self.convs = nn.ModuleList([self.conv3x3(share, share, stride) for _ in range(self.scales - 1)])
        self.bns = nn.ModuleList([build_norm_layer(self.settings.norm_cfg, share)[1] for _ in range(self.scales - 1)])
        self.pool = nn.AvgPool2d(3, stride, padding=1) if self.first and stride != 1 else nn.Identity()

    def middle(self, x: Tensor) -> Tensor:
        *shares, last = x.chunk(self.scales, 1)
        outs: list[Tensor] = []
        for share, conv, norm in zip(shares, self.convs, self.bns, strict=True):
            chained = share if self.first or not outs else outs[-1] + share
            outs.append(self.relu(norm(conv(chained.contiguous()))))
        return torch.cat([*outs, self.pool(last)], 1)


@BACKBONES.register_module()
class Res2Net(ResNet):
    """Residual network with several scales in every block (arXiv:1904.01169).

    Args: those of ResNet (depth 50, 101 or 152), and
        scales: shares of the channels in a block, at least 2.
        base_width: channels of a share in the first stage.
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
        in_channels: int = 3,
        stem_channels: int | None = None,
        base_channels: int = 64,
        num_stages: int = 4,
        strides: Sequence[int] = (1, 2, 2, 2),
        dilations: Sequence[int] = (1, 1, 1, 1),
        out_indices: Sequence[int] = (0, 1, 2, 3),
        style: str = 'pytorch',
        deep_stem: bool = True,
        avg_down: bool = True,
        frozen_stages: int = -1,
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg = BN,
        norm_eval: bool = True,
        dcn: Cfg | None = None,
        stage_with_dcn: Sequence[bool] = (False, False, False, False),
        plugins: Sequence[Cfg] | None = None,
        with_cp: bool = False,
        zero_init_residual: bool = True,
        pretrained: str | None = None,
        init_cfg: InitCfg = None,
    ) -> None:
        if scales < 2:
            raise ValueError(f'Res2Net: scales is at least 2 (1 would be a ResNet), got {scales}')
        if not avg_down:
            raise ValueError('Res2Net: avg_down must be True, projections always stride by average pooling')
        self.scales, self.base_width = scales, base_width
        super().__init__(
            depth,
            in_channels,
            stem_channels,
            base_channels,
            num_stages,
            strides,
            dilations,
            out_indices,
            style,
            deep_stem,
            avg_down,
            frozen_stages,
            conv_cfg,
            norm_cfg,
            norm_eval,
            dcn,
            stage_with_dcn,
            plugins,
            with_cp,
            zero_init_residual,
            pretrained,
            init_cfg,
        )

    def stage_width(self, stage: int) -> tuple[int, int, int]:
        planes, out_channels, groups = super().stage_width(stage)
        return int(planes * (self.base_width / self.base_channels)) * self.scales, out_channels, groups

    def make_block(
        self,
        in_channels: int,
        width: int,
        out_channels: int,
        stride: int,
        dilation: int,
        downsample: nn.Module | None,
        groups: int,
        settings: BlockSettings,
    ) -> ResidualBlock:
        return Bottle2neck(
            in_channels,
            width,
            out_channels,
            stride,
            dilation,
            downsample,
            groups,
            settings,
            self.scales,
            first=downsample is not None,
        )
