"""ResNeSt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from mmkit.layers import BaseModule, build_conv_layer, build_norm_layer
from mmkit.layers.init import InitCfg
from mmkit.models.backbones.residual_blocks import BlockSettings, Bottleneck, ResidualBlock
from mmkit.models.backbones.resnet import BN
from mmkit.models.backbones.resnext import ResNeXt
from mmkit.registry import BACKBONES

Cfg = Mapping[str, Any]


class SplitAttentionConv2d(BaseModule):
    """A 3 x 3 convolution into `radix` versions, mixed by an attention over them for every channel.

    Args:
        channels: in and out.
        conv: the convolution into channels * radix.
        groups: cardinal groups.
        radix: number of versions; 1 is a gate.
        reduction_factor: bottleneck of the attention.
        norm_cfg: kind of norm.
    """

    def __init__(
        self, channels: int, conv: nn.Module, groups: int, radix: int, reduction_factor: int, norm_cfg: Cfg
    ) -> None:
        super().__init__()
        self.radix, self.groups = radix, groups
        inside = max(channels * radix // reduction_factor, 32)
        self.conv = conv
        self.norm0_name, norm0 = build_norm_layer(norm_cfg, channels * radix, postfix=0)
        self.add_module(self.norm0_name, norm0)
        self.relu = nn.ReLU(inplace=True)
        self.fc1 = nn.Conv2d(channels, inside, 1, groups=groups)
        self.norm1_name, norm1 = build_norm_layer(norm_cfg, inside, postfix=1)
        self.add_module(self.norm1_name, norm1)
        self.fc2 = nn.Conv2d(inside, channels * radix, 1, groups=groups)

    def _attention(self, pooled: Tensor) -> Tensor:
        """Weights of the versions, (B, radix, C, 1, 1), from their pooled sum (B, C, 1, 1)."""
        logits = self.fc2(self.relu(getattr(self, self.norm1_name)(self.fc1(pooled))))
        if self.radix == 1:
            return logits.sigmoid()[:, None]
        grouped = logits.view(len(logits), self.groups, self.radix, -1).transpose(1, 2)  # (B, radix, G, C / G)
        return grouped.softmax(1).flatten(2)[..., None, None]

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(getattr(self, self.norm0_name)(self.conv(x)))
        versions = x.view(len(x), self.radix, -1, *x.shape[2:])  # (B, radix, C, H, W)
        pooled = nn.functional.adaptive_avg_pool2d(versions.sum(1), 1)
        return (self._attention(pooled) * versions).sum(1)


class SplitAttentionBottleneck(Bottleneck):
    """A bottleneck around a SplitAttentionConv2d.

    Args: those of ResidualBlock, and
        radix, reduction_factor: see SplitAttentionConv2d.
        avg_down_stride: stride by average pooling behind the convolution.
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
        radix: int,
        reduction_factor: int,
        avg_down_stride: bool,
    ) -> None:
        self.radix, self.reduction_factor, self.avg_down_stride = radix, reduction_factor, avg_down_stride
        super().__init__(in_channels, width, out_channels, stride, dilation, downsample, groups, settings)

    def build_middle(self, stride: int) -> None:
        pooled = self.avg_down_stride and stride > 1
        conv_stride = 1 if pooled else stride
        conv = build_conv_layer(
            self.middle_cfg(conv_stride),
            self.width,
            self.width * self.radix,
            3,
            stride=conv_stride,
            padding=self.dilation,
            dilation=self.dilation,
            groups=self.groups * self.radix,
            bias=False,
        )
        self.conv2 = SplitAttentionConv2d(
            self.width, conv, self.groups, self.radix, self.reduction_factor, self.settings.norm_cfg
        )
        self.avd_layer = nn.AvgPool2d(3, stride, padding=1) if pooled else nn.Identity()

    def middle(self, x: Tensor) -> Tensor:
        return self.avd_layer(self.conv2(x))


@BACKBONES.register_module()
class ResNeSt(ResNeXt):
    """Residual network with split attention (arXiv:2004.08955); the stem is deep and projections pool.

    Args: those of ResNeXt (depth 50, 101, 152 or 200; no deep_stem or avg_down), and
        radix: versions of the 3 x 3 convolution.
        reduction_factor: bottleneck of the attention.
        avg_down_stride: stride by average pooling behind the 3 x 3 convolution.
    """

    arch = {
        50: (SplitAttentionBottleneck, (3, 4, 6, 3)),
        101: (SplitAttentionBottleneck, (3, 4, 23, 3)),
        152: (SplitAttentionBottleneck, (3, 8, 36, 3)),
        200: (SplitAttentionBottleneck, (3, 24, 36, 3)),
    }

    def __init__(
        self,
        depth: int,
        groups: int = 1,
        base_width: int = 4,
        radix: int = 2,
        reduction_factor: int = 4,
        avg_down_stride: bool = True,
        in_channels: int = 3,
        stem_channels: int | None = None,
        base_channels: int = 64,
        num_stages: int = 4,
        strides: Sequence[int] = (1, 2, 2, 2),
        dilations: Sequence[int] = (1, 1, 1, 1),
        out_indices: Sequence[int] = (0, 1, 2, 3),
        style: str = 'pytorch',
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
        self.radix, self.reduction_factor, self.avg_down_stride = radix, reduction_factor, avg_down_stride
        super().__init__(
            depth,
            groups,
            base_width,
            in_channels,
            stem_channels,
            base_channels,
            num_stages,
            strides,
            dilations,
            out_indices,
            style,
            True,
            True,
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
        return SplitAttentionBottleneck(
            in_channels,
            width,
            out_channels,
            stride,
            dilation,
            downsample,
            groups,
            settings,
            self.radix,
            self.reduction_factor,
            self.avg_down_stride,
        )
