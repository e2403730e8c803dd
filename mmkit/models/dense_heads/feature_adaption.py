"""Features that follow the predicted shapes of anchors (arXiv:1901.03278) or boxes (arXiv:1904.03797)."""

from __future__ import annotations

from torch import Tensor, nn

from mmkit.layers import BaseModule, DeformConv2d
from mmkit.layers.init import InitCfg


class FeatureAdaption(BaseModule):
    """Deformable convolution whose offsets follow from the predicted shapes.

    Args:
        in_channels, out_channels, kernel_size, deform_groups: of the convolution.
        shape_channels: S, numbers that describe a shape.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        deform_groups: int = 4,
        shape_channels: int = 2,
        init_cfg: InitCfg = dict(
            type='Normal', layer='Conv2d', std=0.1, override=dict(type='Normal', name='conv_adaption', std=0.01)
        ),
    ) -> None:
        super().__init__(init_cfg)
        self.conv_offset = nn.Conv2d(shape_channels, deform_groups * 2 * kernel_size**2, 1, bias=False)
        self.conv_adaption = DeformConv2d(
            in_channels, out_channels, kernel_size, padding=(kernel_size - 1) // 2, deform_groups=deform_groups
        )

    def forward(self, feat: Tensor, shape: Tensor) -> Tensor:
        """Features (B, in_channels, H, W) and shapes (B, S, H, W) -> (B, out_channels, H, W)."""
        adapted: Tensor = self.conv_adaption(feat, self.conv_offset(shape))
        return adapted.relu()
