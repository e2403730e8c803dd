"""ResNeSt."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Unpack

from mmkit.layers import BaseModule, build_norm_layer
from mmkit.models.backbones.residual_blocks import BlockFactory, BlockSettings, Bottleneck
from mmkit.models.backbones.resnet import ResNetV1dOptions
from mmkit.models.backbones.resnext import ResNeXt
from mmkit.registry import BACKBONES, Cfg


class SplitAttentionConv2d(BaseModule):
    """Split attention: a 3 x 3 convolution into `radix` splits and their channel-wise attention (arXiv:2004.08955).

    Args:
        channels: of input and output.
        conv: the convolution into channels * radix.
        groups: cardinal groups.
        radix: number of splits; with 1 the attention is a gate.
        reduction_factor: channels * radix / channels of the attention's bottleneck.
        norm_cfg: kind of norm.
    """

    def __init__(
        self, channels: int, conv: nn.Module, groups: int, radix: int, reduction_factor: int, norm_cfg: Cfg
    ) -> None:
        super().__init__()
        self.radix, self.groups = radix, groups
        squeezed = max(channels * radix // reduction_factor, 32)
        self.conv = conv
        self.norm0_name, norm0 = build_norm_layer(norm_cfg, channels * radix, postfix=0)
        self.add_module(self.norm0_name, norm0)
        self.relu = nn.ReLU(inplace=True)
        self.fc1 = nn.Conv2d(channels, squeezed, 1, groups=groups)
        self.norm1_name, norm1 = build_norm_layer(norm_cfg, squeezed, postfix=1)
        self.add_module(self.norm1_name, norm1)
        self.fc2 = nn.Conv2d(squeezed, channels * radix, 1, groups=groups)

    def _attention(self, pooled: Tensor) -> Tensor:
        """Weights of the splits, (B, radix, C, 1, 1), from their pooled sum (B, C, 1, 1)."""
        logits: Tensor = self.fc2(self.relu(self.get_submodule(self.norm1_name)(self.fc1(pooled))))
        if self.radix == 1:
            return logits.sigmoid()[:, None]
        grouped = logits.view(len(logits), self.groups, self.radix, -1).transpose(1, 2)  # (B, radix, G, C / G)
        return grouped.softmax(1).flatten(2)[..., None, None]

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.get_submodule(self.norm0_name)(self.conv(x)))
        splits = x.view(len(x), self.radix, -1, *x.shape[2:])  # (B, radix, C, H, W)
        pooled = F.adaptive_avg_pool2d(splits.sum(1), 1)
        return (self._attention(pooled) * splits).sum(1)


class SplitAttentionBottleneck(Bottleneck):
    """A bottleneck around a SplitAttentionConv2d.

    Args: those of ResidualBlock, and
        radix, reduction_factor: see SplitAttentionConv2d.
        avg_down_stride: stride by average pooling after the convolution.
    """

    def __init__(
        self,
        in_channels: int,
        stride: int,
        downsample: nn.Module | None,
        settings: BlockSettings,
        *,
        radix: int,
        reduction_factor: int,
        avg_down_stride: bool,
    ) -> None:
        self.radix, self.reduction_factor, self.avg_down_stride = radix, reduction_factor, avg_down_stride
        super().__init__(in_channels, stride, downsample, settings)

    def build_middle(self, stride: int) -> None:
        pooled = self.avg_down_stride and stride > 1
        width, groups = self.settings.width, self.settings.groups
        conv = self.conv3x3(width, width * self.radix, 1 if pooled else stride, groups=groups * self.radix)
        self.conv2 = SplitAttentionConv2d(
            width,
            conv,
            groups,
            radix=self.radix,
            reduction_factor=self.reduction_factor,
            norm_cfg=self.settings.norm_cfg,
        )
        self.avd_layer = nn.AvgPool2d(3, stride, padding=1) if pooled else nn.Identity()

    def middle(self, x: Tensor) -> Tensor:
        x = self.avd_layer(self.conv2(x))
        return x


@BACKBONES.register_module()
class ResNeSt(ResNeXt):
    """Residual network with split attention (arXiv:2004.08955); the stem is deep and projections pool.

    Args: those of ResNeXt (depth 50, 101, 152 or 200; no deep_stem or avg_down), and
        radix: splits of the 3 x 3 convolution.
        reduction_factor: see SplitAttentionConv2d.
        avg_down_stride: stride by average pooling after the 3 x 3 convolution.
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
        **options: Unpack[ResNetV1dOptions],
    ) -> None:
        self.radix, self.reduction_factor, self.avg_down_stride = radix, reduction_factor, avg_down_stride
        super().__init__(depth, groups, base_width, deep_stem=True, avg_down=True, **options)

    def block_factory(self) -> BlockFactory:
        return partial(
            SplitAttentionBottleneck,
            radix=self.radix,
            reduction_factor=self.reduction_factor,
            avg_down_stride=self.avg_down_stride,
        )
