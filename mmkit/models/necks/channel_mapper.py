"""Neck that brings all levels to the same number of channels."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.layers import BaseModule, ConvModule, InitCfg, LayerCfgs, ModuleList
from mmkit.models.necks.fpn import XAVIER, check_inputs
from mmkit.registry import NECKS, Cfg

RELU = dict(type='ReLU')


@NECKS.register_module()
class ChannelMapper(BaseModule):
    """A convolution on every level, and stride-2 convolutions for coarser ones.

    Args:
        in_channels: channels of every level of the backbone.
        out_channels: channels of every output.
        kernel_size: of the convolutions on the backbone's levels.
        conv_cfg, norm_cfg, act_cfg: kinds of layer.
        num_outs: levels of the output, None for as many as there are inputs.
        init_cfg: initial weights.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        kernel_size: int = 3,
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg | None = None,
        act_cfg: Cfg | None = RELU,
        num_outs: int | None = None,
        init_cfg: InitCfg = XAVIER,
    ) -> None:
        super().__init__(init_cfg)
        if not isinstance(in_channels, (list, tuple)):
            raise InvalidTypeError(f'in_channels is a list, got {in_channels!r}', key='in_channels')
        self.in_channels = tuple(in_channels)
        num_outs = len(in_channels) if num_outs is None else num_outs
        if num_outs < len(in_channels):
            raise InvalidValueError(
                f'num_outs is at least the {len(in_channels)} levels, got {num_outs}', key='num_outs'
            )

        cfgs = LayerCfgs(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.convs = ModuleList(
            ConvModule(channels, out_channels, kernel_size, padding=(kernel_size - 1) // 2, **cfgs)
            for channels in in_channels
        )
        self.extra_convs: ModuleList | None = None
        if num_outs > len(in_channels):
            sources = [in_channels[-1], *[out_channels] * (num_outs - len(in_channels) - 1)]
            self.extra_convs = ModuleList(
                ConvModule(channels, out_channels, 3, stride=2, padding=1, **cfgs) for channels in sources
            )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone levels (B, C_l, H_l, W_l) -> `num_outs` levels (B, out_channels, ...), finest first."""
        check_inputs('ChannelMapper', inputs, self.in_channels)
        outs = [conv(level) for conv, level in zip(self.convs, inputs, strict=True)]
        source = inputs[-1]
        for conv in self.extra_convs or ():
            source = conv(source)
            outs.append(source)
        return tuple(outs)
