"""ResNeXt."""

from __future__ import annotations

from typing_extensions import Unpack

from mmkit.models.backbones.residual_blocks import Bottleneck
from mmkit.models.backbones.resnet import ResNet, ResNetOptions
from mmkit.registry import BACKBONES


@BACKBONES.register_module()
class ResNeXt(ResNet):
    """Residual network with grouped convolutions (arXiv:1611.05431).

    Args: those of ResNet (depth 50, 101 or 152), and
        groups: of the 3 x 3 convolutions.
        base_width: channels of a group in the first stage.
    """

    arch = {
        50: (Bottleneck, (3, 4, 6, 3)),
        101: (Bottleneck, (3, 4, 23, 3)),
        152: (Bottleneck, (3, 8, 36, 3)),
    }

    def __init__(self, depth: int, groups: int = 1, base_width: int = 4, **options: Unpack[ResNetOptions]) -> None:
        self.groups, self.base_width = groups, base_width
        super().__init__(depth, **options)

    def stage_width(self, stage: int) -> tuple[int, int, int]:
        planes, out_channels, _ = super().stage_width(stage)
        if self.groups == 1:
            return planes, out_channels, 1
        return int(planes * (self.base_width / self.base_channels)) * self.groups, out_channels, self.groups
