"""Feature pyramid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from mmkit.layers import BaseModule, ConvModule, ModuleList
from mmkit.layers.init import InitCfg
from mmkit.models.necks.inputs import check_inputs
from mmkit.registry import NECKS

Cfg = Mapping[str, Any]
XAVIER = dict(type='Xavier', layer='Conv2d', distribution='uniform')
NEAREST = dict(mode='nearest')
EXTRA_FROM = ('on_input', 'on_lateral', 'on_output')


@NECKS.register_module()
class FPN(BaseModule):
    """Feature pyramid network (arXiv:1612.03144).

    Args:
        in_channels: channels of every level of the backbone.
        out_channels: channels of every level of the pyramid.
        num_outs: levels of the pyramid.
        start_level, end_level: first and last level of the backbone used; -1 is the last there is.
        add_extra_convs: levels beyond the backbone's come from stride-2 convolutions of the last input ('on_input', or
            True), the last lateral ('on_lateral') or the last output ('on_output'); False pools the last output.
        relu_before_extra_convs: ReLU between those convolutions.
        no_norm_on_lateral: no norm behind the 1 x 1 convolutions.
        conv_cfg, norm_cfg, act_cfg: kinds of layer.
        upsample_cfg: `mode`, and what else F.interpolate takes; without `scale_factor`, to the size of the finer level.
        init_cfg: how the weights start.
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
        upsample_cfg: Cfg = NEAREST,
        init_cfg: InitCfg = XAVIER,
    ) -> None:
        super().__init__(init_cfg)
        if not isinstance(in_channels, (list, tuple)):
            raise TypeError(f'{type(self).__name__}: in_channels is a list, got {in_channels!r}')
        if add_extra_convs not in (True, False, *EXTRA_FROM):
            raise ValueError(
                f'{type(self).__name__}: add_extra_convs is a bool or one of {EXTRA_FROM}, got {add_extra_convs!r}'
            )
        self.in_channels, self.out_channels, self.num_outs = tuple(in_channels), out_channels, num_outs
        self.start_level, self.backbone_end_level = start_level, self._end(start_level, end_level)
        self.add_extra_convs = 'on_input' if add_extra_convs is True else add_extra_convs
        self.relu_before_extra_convs = relu_before_extra_convs
        self.upsample_cfg = dict(upsample_cfg)

        def conv(source: int, kernel: int, stride: int = 1, norm: bool = True) -> ConvModule:
            return ConvModule(
                source,
                out_channels,
                kernel,
                stride,
                kernel // 2,
                conv_cfg=conv_cfg,
                norm_cfg=norm_cfg if norm else None,
                act_cfg=act_cfg,
                inplace=False,
            )

        used = self.in_channels[start_level : self.backbone_end_level]
        self.lateral_convs = ModuleList([conv(channels, 1, norm=not no_norm_on_lateral) for channels in used])
        self.fpn_convs = ModuleList([conv(out_channels, 3) for _ in used])
        for level in range(num_outs - len(used) if self.add_extra_convs else 0):
            first = level == 0 and self.add_extra_convs == 'on_input'
            self.fpn_convs.append(conv(used[-1] if first else out_channels, 3, stride=2))

    def _end(self, start_level: int, end_level: int) -> int:
        """One past the last backbone level used."""
        num_ins, name = len(self.in_channels), type(self).__name__
        if end_level in (-1, num_ins - 1):
            if self.num_outs < num_ins - start_level:
                raise ValueError(
                    f'{name}: num_outs is at least the {num_ins - start_level} levels used, got {self.num_outs}'
                )
            return num_ins
        if not start_level <= end_level < num_ins:
            raise ValueError(f'{name}: end_level is from {start_level} to {num_ins - 1} or -1, got {end_level}')
        if self.num_outs != end_level - start_level + 1:
            raise ValueError(
                f'{name}: with end_level={end_level}, num_outs is {end_level - start_level + 1}, got {self.num_outs}'
            )
        return end_level + 1

    def top_down(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The backbone's levels as laterals, each with the coarser ones added."""
        used = slice(self.start_level, self.backbone_end_level)
        check_inputs(type(self).__name__, inputs, self.in_channels, used)
        laterals = [conv(inputs[self.start_level + level]) for level, conv in enumerate(self.lateral_convs)]
        for level in range(len(laterals) - 1, 0, -1):
            size = {} if 'scale_factor' in self.upsample_cfg else dict(size=laterals[level - 1].shape[2:])
            laterals[level - 1] = laterals[level - 1] + F.interpolate(laterals[level], **size, **self.upsample_cfg)
        return laterals

    def extend(self, inputs: Sequence[Tensor], laterals: list[Tensor], outs: list[Tensor]) -> tuple[Tensor, ...]:
        """`outs` with further, coarser levels up to `num_outs`."""
        num_extra = self.num_outs - len(outs)
        if not self.add_extra_convs:
            for _ in range(num_extra):
                outs.append(F.max_pool2d(outs[-1], 1, stride=2))
            return tuple(outs)
        source = dict(on_input=inputs[self.backbone_end_level - 1], on_lateral=laterals[-1], on_output=outs[-1])[
            self.add_extra_convs
        ]
        for level, conv in enumerate(self.fpn_convs[len(laterals) :]):
            if level and self.relu_before_extra_convs:
                source = F.relu(source)
            source = conv(source)
            outs.append(source)
        return tuple(outs)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone levels (B, C_l, H_l, W_l) -> `num_outs` levels (B, out_channels, ...), finest first."""
        laterals = self.top_down(inputs)
        outs = [conv(lateral) for conv, lateral in zip(self.fpn_convs, laterals)]
        return self.extend(inputs, laterals, outs)
