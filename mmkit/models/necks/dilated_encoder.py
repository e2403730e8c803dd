"""YOLOF's neck, arXiv:2103.09460."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from mmkit.errors import InvalidValueError
from mmkit.layers import BaseModule, ConvModule
from mmkit.layers.init import InitCfg
from mmkit.registry import NECKS

BN = dict(type='BN')
INIT = (
    dict(type='Caffe2Xavier', layer='Conv2d', override=[dict(name='lateral_conv'), dict(name='fpn_conv')]),
    dict(type='Normal', layer='Conv2d', std=0.01, override=dict(name='dilated_encoder_blocks')),
)


class DilatedBlock(nn.Module):
    """A residual block of a 1x1, a dilated 3x3 and a 1x1 convolution."""

    def __init__(self, channels: int, hidden: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = ConvModule(channels, hidden, 1, norm_cfg=BN)
        self.conv2 = ConvModule(hidden, hidden, 3, padding=dilation, dilation=dilation, norm_cfg=BN)
        self.conv3 = ConvModule(hidden, channels, 1, norm_cfg=BN)

    def forward(self, feat: Tensor) -> Tensor:
        changed: Tensor = self.conv3(self.conv2(self.conv1(feat)))
        return feat + changed


@NECKS.register_module()
class DilatedEncoder(BaseModule):
    """One map with several receptive fields: a projection, and residual blocks of growing dilation.

    Args:
        in_channels, out_channels: of the map and of the result.
        block_mid_channels: hidden channels of a block.
        num_residual_blocks: number of them.
        block_dilations: dilation of each.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        block_mid_channels: int,
        num_residual_blocks: int,
        block_dilations: Sequence[int],
        init_cfg: InitCfg = INIT,
    ) -> None:
        super().__init__(init_cfg)
        if len(block_dilations) != num_residual_blocks:
            message = f'{num_residual_blocks} num_residual_blocks and {len(block_dilations)} block_dilations'
            raise InvalidValueError(message, key='block_dilations')
        self.lateral_conv = nn.Conv2d(in_channels, out_channels, 1)
        self.lateral_norm = nn.BatchNorm2d(out_channels)
        self.fpn_conv = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.fpn_norm = nn.BatchNorm2d(out_channels)
        self.dilated_encoder_blocks = nn.Sequential(
            *(DilatedBlock(out_channels, block_mid_channels, dilation) for dilation in block_dilations)
        )

    def forward(self, feats: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Levels -> one map (B, out_channels, H, W), from the last."""
        projected = self.fpn_norm(self.fpn_conv(self.lateral_norm(self.lateral_conv(feats[-1]))))
        return (self.dilated_encoder_blocks(projected),)
