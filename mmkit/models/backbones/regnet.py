"""RegNet."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import ClassVar

from typing_extensions import Unpack

from mmkit.errors import InvalidValueError
from mmkit.models.backbones.residual_blocks import Bottleneck, ResidualBlock
from mmkit.models.backbones.resnet import ResidualOptions, ResNet
from mmkit.registry import BACKBONES

ARCH_KEYS = ('w0', 'wa', 'wm', 'group_w', 'depth', 'bot_mul')


@BACKBONES.register_module()
class RegNet(ResNet):
    """Residual network whose widths follow a quantised line (arXiv:2003.13678).

    Args: those of ResNet (no depth or num_stages), and
        arch: a name such as 'regnetx_3.2gf', or a dict of `w0` (first width), `wa` (slope), `wm` (quantisation),
            `group_w` (channels of a group), `depth` (blocks) and `bot_mul` (width inside a block / width outside).
        stem_channels: channels of the stem.
        base_channels: must be 32; it has no effect.
        deep_stem: must be False.
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
        stem_channels: int = 32,
        base_channels: int = 32,
        strides: Sequence[int] = (2, 2, 2, 2),
        deep_stem: bool = False,
        avg_down: bool = False,
        **options: Unpack[ResidualOptions],
    ) -> None:
        if deep_stem:
            raise InvalidValueError('RegNet has no deep stem: deep_stem must be False', key='deep_stem')
        if base_channels != 32:
            raise InvalidValueError(
                f'RegNet: base_channels has no effect and must be 32, got {base_channels}; '
                f'stem_channels sets the width of the stem',
                key='base_channels',
            )
        numbers = self._numbers(arch)
        widths = quantised_widths(numbers['w0'], numbers['wa'], numbers['wm'], int(numbers['depth']))
        blocks = Counter(widths)  # in the order of the stages, for widths only grow
        self.stages = [_whole_groups(width, numbers['bot_mul'], int(numbers['group_w'])) for width in blocks]
        self._stage_blocks = tuple(blocks.values())
        super().__init__(
            len(widths),
            stem_channels=stem_channels,
            base_channels=base_channels,
            num_stages=len(blocks),
            strides=strides,
            avg_down=avg_down,
            **options,
        )

    @classmethod
    def _numbers(cls, arch: str | Mapping[str, float]) -> Mapping[str, float]:
        if isinstance(arch, str):
            if arch not in cls.arch_settings:
                raise InvalidValueError(
                    f'RegNet: arch is one of {list(cls.arch_settings)} or a dict, got {arch!r}', key='arch'
                )
            return cls.arch_settings[arch]
        if not isinstance(arch, Mapping) or set(arch) != set(ARCH_KEYS):
            raise InvalidValueError(f'RegNet: arch is a name or a dict of {list(ARCH_KEYS)}, got {arch!r}', key='arch')
        return arch

    def layout(self, depth: int) -> tuple[type[ResidualBlock], tuple[int, ...]]:
        return Bottleneck, self._stage_blocks

    def build_stem(self, in_channels: int) -> tuple[str, ...]:
        return self.plain_stem(in_channels, kernel_size=3)

    def stage_width(self, stage: int) -> tuple[int, int, int]:
        return self.stages[stage]


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
