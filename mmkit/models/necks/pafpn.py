"""Path aggregation pyramid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from mmkit.layers import ConvModule, ModuleList
from mmkit.layers.init import InitCfg
from mmkit.models.necks.fpn import FPN, XAVIER
from mmkit.registry import NECKS

Cfg = Mapping[str, Any]


@NECKS.register_module()
class PAFPN(FPN):
    """FPN with a second, bottom-up path (arXiv:1803.01534).

    Args: those of FPN; upsampling is always by nearest neighbour.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int,
        start_level: int = 0,
        end_level: int = -1,
        add_extra_convs: bool | str = False,
        relu_before_extra_convs: bool = False,
        no_norm_on_lateral: bool = False,
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg | None = None,
        act_cfg: Cfg | None = None,
        init_cfg: InitCfg = XAVIER,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            num_outs,
            start_level,
            end_level,
            add_extra_convs,
            relu_before_extra_convs,
            no_norm_on_lateral,
            conv_cfg,
            norm_cfg,
            act_cfg,
            init_cfg=init_cfg,
        )

        def conv(stride: int) -> ConvModule:
            return ConvModule(
                out_channels,
                out_channels,
                3,
                stride,
                1,
                conv_cfg=conv_cfg,
                norm_cfg=norm_cfg,
                act_cfg=act_cfg,
                inplace=False,
            )

        steps = range(len(self.lateral_convs) - 1)
        self.downsample_convs = ModuleList([conv(2) for _ in steps])
        self.pafpn_convs = ModuleList([conv(1) for _ in steps])

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone levels (B, C_l, H_l, W_l) -> `num_outs` levels (B, out_channels, ...), finest first."""
        laterals = self.top_down(inputs)
        path = [conv(lateral) for conv, lateral in zip(self.fpn_convs, laterals)]
        for level, down in enumerate(self.downsample_convs):
            path[level + 1] = path[level + 1] + down(path[level])
        outs = [path[0], *(conv(level) for conv, level in zip(self.pafpn_convs, path[1:], strict=True))]
        return self.extend(inputs, laterals, outs)
