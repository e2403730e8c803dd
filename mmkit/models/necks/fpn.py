"""Feature pyramid networks: FPN and PAFPN."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F
from typing_extensions import TypedDict, Unpack

from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.layers import BaseModule, ConvModule, InitCfg, LayerCfgs, ModuleList
from mmkit.registry import NECKS, Cfg

XAVIER = dict(type='Xavier', layer='Conv2d', distribution='uniform')
NEAREST = dict(mode='nearest')
EXTRA_FROM = ('on_input', 'on_lateral', 'on_output')


class PAFPNOptions(TypedDict, total=False):
    """Keyword arguments that PAFPN has from FPN."""

    start_level: int
    end_level: int
    add_extra_convs: bool | str
    relu_before_extra_convs: bool
    no_norm_on_lateral: bool
    conv_cfg: Cfg | None
    norm_cfg: Cfg | None
    act_cfg: Cfg | None
    init_cfg: InitCfg


def check_inputs(name: str, inputs: Sequence[Tensor], in_channels: Sequence[int], used: slice = slice(None)) -> None:
    """Check the feature maps (B, C_l, H_l, W_l) that a neck gets from the backbone.

    Args:
        name: of the neck, for the message.
        inputs: the feature maps.
        in_channels: expected C_l.
        used: levels that the neck uses.

    Raises:
        InvalidValueError: the number of levels, or the channels of a used one, are not as expected.
    """
    if len(inputs) != len(in_channels):
        raise InvalidValueError(
            f'{name}: in_channels has {len(in_channels)} levels, got {len(inputs)} feature maps', key='in_channels'
        )
    given = [level.shape[1] for level in inputs]
    if given[used] != list(in_channels[used]):
        raise InvalidValueError(
            f'{name}: in_channels is {list(in_channels)}, the backbone gives {given} channels', key='in_channels'
        )


@NECKS.register_module()
class FPN(BaseModule):
    """Feature pyramid network (arXiv:1612.03144).

    Args:
        in_channels: channels of every level of the backbone.
        out_channels: channels of every level of the pyramid.
        num_outs: levels of the pyramid.
        start_level, end_level: first and last level of the backbone that is used; -1 is the last.
        add_extra_convs: levels beyond the backbone's come from stride-2 convolutions of the last input ('on_input', or
            True), the last lateral ('on_lateral') or the last output ('on_output'); False pools the last output.
        relu_before_extra_convs: ReLU between those convolutions.
        no_norm_on_lateral: no norm after the 1 x 1 convolutions.
        conv_cfg, norm_cfg, act_cfg: kinds of layer.
        upsample_cfg: arguments of F.interpolate; without `scale_factor`, to the size of the finer level.
        init_cfg: initial weights.
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
            raise InvalidTypeError(f'in_channels is a list, got {in_channels!r}', key='in_channels')
        if add_extra_convs not in (True, False, *EXTRA_FROM):
            raise InvalidValueError(
                f'add_extra_convs is a bool or one of {EXTRA_FROM}, got {add_extra_convs!r}', key='add_extra_convs'
            )
        self.in_channels, self.out_channels, self.num_outs = tuple(in_channels), out_channels, num_outs
        self.start_level, self.backbone_end_level = start_level, self._end(start_level, end_level)
        self.add_extra_convs = 'on_input' if add_extra_convs is True else add_extra_convs
        self.relu_before_extra_convs = relu_before_extra_convs
        self.upsample_cfg = dict(upsample_cfg)
        self._cfgs = LayerCfgs(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)

        used = self.in_channels[start_level : self.backbone_end_level]
        self.lateral_convs = ModuleList(self._conv(channels, 1, with_norm=not no_norm_on_lateral) for channels in used)
        self.fpn_convs = ModuleList(self._conv(out_channels, 3) for _ in used)
        for level in range(num_outs - len(used) if self.add_extra_convs else 0):
            first = level == 0 and self.add_extra_convs == 'on_input'
            self.fpn_convs.append(self._conv(used[-1] if first else out_channels, 3, stride=2))

    def _conv(self, in_channels: int, kernel_size: int, stride: int = 1, with_norm: bool = True) -> ConvModule:
        cfgs = self._cfgs if with_norm else LayerCfgs(**{**self._cfgs, 'norm_cfg': None})
        return ConvModule(
            in_channels,
            self.out_channels,
            kernel_size,
            stride=stride,
            padding=kernel_size // 2,
            inplace=False,
            **cfgs,
        )

    def _end(self, start_level: int, end_level: int) -> int:
        """One past the last backbone level that is used."""
        num_ins = len(self.in_channels)
        if end_level in (-1, num_ins - 1):
            if self.num_outs < num_ins - start_level:
                raise InvalidValueError(
                    f'num_outs is at least the {num_ins - start_level} levels used, got {self.num_outs}', key='num_outs'
                )
            return num_ins
        if not start_level <= end_level < num_ins:
            raise InvalidValueError(
                f'end_level is from {start_level} to {num_ins - 1} or -1, got {end_level}', key='end_level'
            )
        if self.num_outs != end_level - start_level + 1:
            raise InvalidValueError(
                f'with end_level={end_level}, num_outs is {end_level - start_level + 1}, got {self.num_outs}',
                key='num_outs',
            )
        return end_level + 1

    def top_down(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Lateral features of the used levels, each with the coarser ones added."""
        used = slice(self.start_level, self.backbone_end_level)
        check_inputs(type(self).__name__, inputs, self.in_channels, used)
        laterals = [conv(inputs[self.start_level + level]) for level, conv in enumerate(self.lateral_convs)]
        for level in range(len(laterals) - 1, 0, -1):
            size = {} if 'scale_factor' in self.upsample_cfg else dict(size=laterals[level - 1].shape[2:])
            laterals[level - 1] = laterals[level - 1] + F.interpolate(laterals[level], **size, **self.upsample_cfg)
        return laterals

    def extend(self, inputs: Sequence[Tensor], laterals: list[Tensor], outs: list[Tensor]) -> tuple[Tensor, ...]:
        """Add coarser levels to `outs`, up to `num_outs`."""
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


@NECKS.register_module()
class PAFPN(FPN):
    """FPN with a second, bottom-up path (arXiv:1803.01534); its arguments, without `upsample_cfg`."""

    def __init__(
        self, in_channels: Sequence[int], out_channels: int, num_outs: int, **options: Unpack[PAFPNOptions]
    ) -> None:
        super().__init__(in_channels, out_channels, num_outs, **options)
        steps = range(len(self.lateral_convs) - 1)
        self.downsample_convs = ModuleList(self._conv(out_channels, 3, stride=2) for _ in steps)
        self.pafpn_convs = ModuleList(self._conv(out_channels, 3) for _ in steps)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone levels (B, C_l, H_l, W_l) -> `num_outs` levels (B, out_channels, ...), finest first."""
        laterals = self.top_down(inputs)
        path = [conv(lateral) for conv, lateral in zip(self.fpn_convs, laterals)]
        for level, down in enumerate(self.downsample_convs):
            path[level + 1] = path[level + 1] + down(path[level])
        outs = [path[0], *(conv(level) for conv, level in zip(self.pafpn_convs, path[1:], strict=True))]
        return self.extend(inputs, laterals, outs)
