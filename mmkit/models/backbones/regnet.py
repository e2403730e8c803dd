"""RegNet."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from mmkit.layers import build_conv_layer, build_norm_layer
from mmkit.layers.init import InitCfg
from mmkit.models.backbones.residual_blocks import Bottleneck
from mmkit.models.backbones.resnet import BN, ResNet
from mmkit.registry import BACKBONES

Cfg = Mapping[str, Any]
ARCH_KEYS = ('w0', 'wa', 'wm', 'group_w', 'depth', 'bot_mul')


@BACKBONES.register_module()
class RegNet(ResNet):
    """Networks whose widths follow a quantised line (arXiv:2003.13678).

    Args: those of ResNet (no depth, base_channels or deep_stem), and
        arch: a name such as 'regnetx_3.2gf', or a dict of `w0` (first width), `wa` (slope), `wm` (quantisation),
            `group_w` (channels of a group), `depth` (blocks) and `bot_mul` (width inside a block by that outside).
        stem_channels: of the stem.
        base_channels: must be 32; it has no effect.
    """

    arch_settings: ClassVar[dict[str, dict[str, float]]] = {
        'regnetx_400mf': dict(w0=24, wa=24.48, wm=2.54, group_w=16, depth=22, bot_mul=1.0),
        'regnetx_800mf': dict(w0=56, wa=35.73, wm=2.28, group_w=16, depth=16, bot_mul=1.0),
        'regnetx_1.6gf': dict(w0=80, wa=34.01, wm=2.25, group_w=24, depth=18, bot_mul=1.0),
        'regnetx_3.2gf': dict(w0=88, wa=26.31, wm=2.25, group_w=48, depth=25, bot_mul=1.0),
        'regnetx_4.0gf': dict(w0=96, wa=38.65, wm=2.43, group_w=40, depth=23, bot_mul=1.0),
        'regnetx_6.4gf': dict(w0=184, wa=60.83, wm=2.07, group_w=56, depth=17, bot_mul=1.0),
        'regnetx_8.0gf': dict(w0=80, wa=49.56, wm=2.88, group_w=120, depth=23, bot_mul=1.0),
        'regnetx_12gf': dict(w0=168, wa=73.36, wm=2.37, group_w=112, depth=19, bot_mul=1.0),
    }

    def __init__(
        self,
        arch: str | Mapping[str, float],
        in_channels: int = 3,
        stem_channels: int = 32,
        base_channels: int = 32,
        strides: Sequence[int] = (2, 2, 2, 2),
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
        if deep_stem:
            raise ValueError('RegNet has no deep stem: deep_stem must be False')
        if base_channels != 32:
            raise ValueError(
                f'RegNet: base_channels has no effect and must be 32, got {base_channels}; '
                f'stem_channels sets the width of the stem'
            )
        numbers = self._numbers(arch)
        widths = quantised_widths(numbers['w0'], numbers['wa'], numbers['wm'], int(numbers['depth']))
        blocks = Counter(widths)  # in the order of the stages, for widths only grow
        self.stages = [_whole_groups(width, numbers['bot_mul'], int(numbers['group_w'])) for width in blocks]
        self.arch = {len(widths): (Bottleneck, tuple(blocks.values()))}
        super().__init__(
            len(widths),
            in_channels,
            stem_channels,
            base_channels,
            len(blocks),
            strides,
            dilations,
            out_indices,
            style,
            False,
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

    @classmethod
    def _numbers(cls, arch: str | Mapping[str, float]) -> Mapping[str, float]:
        if isinstance(arch, str):
            if arch not in cls.arch_settings:
                raise ValueError(f'RegNet: arch is one of {list(cls.arch_settings)} or a dict, got {arch!r}')
            return cls.arch_settings[arch]
        if not isinstance(arch, Mapping) or set(arch) != set(ARCH_KEYS):
            raise ValueError(f'RegNet: arch is a name or a dict of {list(ARCH_KEYS)}, got {arch!r}')
        return arch

    def _build_stem(self, in_channels: int) -> None:
        self.conv1 = build_conv_layer(
            self.conv_cfg, in_channels, self.stem_channels, 3, stride=2, padding=1, bias=False
        )
        self.norm1_name, norm = build_norm_layer(self.norm_cfg, self.stem_channels, postfix=1)
        self.add_module(self.norm1_name, norm)
        self.relu = nn.ReLU(inplace=True)

    def stage_width(self, stage: int) -> tuple[int, int, int]:
        return self.stages[stage]

    def forward_stem(self, x: Tensor) -> Tensor:
        return self.relu(self.norm1(self.conv1(x)))


def quantised_widths(first: float, slope: float, step: float, depth: int, divisor: int = 8) -> list[int]:
    """Width of every block: a line, rounded to powers of `step` times `first` and then to multiples of `divisor`."""
    widths = []
    for index in range(depth):
        power = round(math.log((first + slope * index) / first) / math.log(step))
        widths.append(round(first * step**power / divisor) * divisor)
    return widths


def _whole_groups(width: int, ratio: float, group_width: int) -> tuple[int, int, int]:
    """Width inside the blocks and outside, both made of whole groups, and the number of groups."""
    inside = int(width * ratio)
    group_width = min(group_width, inside)
    inside = round(inside / group_width) * group_width
    return inside, int(inside / ratio), inside // group_width
