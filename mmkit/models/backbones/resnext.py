"""ResNeXt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmkit.layers.init import InitCfg
from mmkit.models.backbones.residual_blocks import Bottleneck
from mmkit.models.backbones.resnet import BN, ResNet
from mmkit.registry import BACKBONES

Cfg = Mapping[str, Any]


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

    def __init__(
        self,
        depth: int,
        groups: int = 1,
        base_width: int = 4,
        in_channels: int = 3,
        stem_channels: int | None = None,
        base_channels: int = 64,
        num_stages: int = 4,
        strides: Sequence[int] = (1, 2, 2, 2),
        dilations: Sequence[int] = (1, 1, 1, 1),
        out_indices: Sequence[int] = (0, 1, 2, 3),
        style: str = 'pytorch',
        deep_stem: bool = False,
        avg_down: bool = False,
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
        self.groups, self.base_width = groups, base_width
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
        planes, out_channels, _ = super().stage_width(stage)
        if self.groups == 1:
            return planes, out_channels, 1
        return int(planes * (self.base_width / self.base_channels)) * self.groups, out_channels, self.groups
