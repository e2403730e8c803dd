"""The two blocks of residual networks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmkit.errors import InvalidValueError
from mmkit.layers import BaseModule, Sequential, build_conv_layer, build_norm_layer, build_plugin_layer
from mmkit.layers.deform_conv import adopt_older_offsets
from mmkit.registry import Cfg

POSITIONS = ('after_conv1', 'after_conv2', 'after_conv3')


@dataclass(frozen=True)
class BlockSettings:
    """Settings that the blocks of a stage share.

    Attributes:
        width: channels inside a block.
        out_channels: channels of its output.
        norm_cfg: kind of norm.
        dilation, groups: of the 3 x 3 convolution.
        style: 'pytorch' puts the stride on the 3 x 3 convolution of a bottleneck, 'caffe' on the first 1 x 1.
        avg_down: projections stride by average pooling (arXiv:1812.01187).
        with_cp: recompute activations in the backward pass instead of keeping them.
        conv_cfg: kind of convolution.
        dcn: kind of deformable convolution for the 3 x 3, None for a plain one.
        plugins: `cfg` and `position` of blocks to insert.
        zero_init_residual: initialise the last norm with 0, so that a block starts as the identity.
    """

    width: int
    out_channels: int
    norm_cfg: Cfg
    dilation: int = 1
    groups: int = 1
    style: str = 'pytorch'
    avg_down: bool = False
    with_cp: bool = False
    conv_cfg: Cfg | None = None
    dcn: Cfg | None = None
    plugins: Sequence[Cfg] = ()
    zero_init_residual: bool = False


class ResidualBlock(BaseModule):
    """A branch of convolutions, added to the input or to a projection of it.

    Args:
        in_channels: channels of the input.
        stride: of the block.
        downsample: projection of the input to the size of the output.
        settings: see BlockSettings.
    """

    expansion: int
    last_norm: str

    def __init__(self, in_channels: int, stride: int, downsample: nn.Module | None, settings: BlockSettings) -> None:
        super().__init__(
            dict(type='Constant', val=0, override=dict(name=self.last_norm)) if settings.zero_init_residual else None
        )
        self.in_channels, self.stride, self.settings = in_channels, stride, settings
        self.relu = nn.ReLU(inplace=True)
        self.norm_names: dict[int, str] = {}
        self.build()
        self.downsample = downsample

    def build(self) -> None:
        """Make the layers of the branch."""
        raise NotImplementedError

    def branch(self, x: Tensor) -> Tensor:
        """Apply the branch to (B, in_channels, H, W)."""
        raise NotImplementedError

    def add_norm(self, index: int, channels: int) -> None:
        """Add the `index`-th norm under its name in checkpoints, such as 'bn1'."""
        name, layer = build_norm_layer(self.settings.norm_cfg, channels, postfix=index)
        self.add_module(name, layer)
        self.norm_names[index] = name

    def norm(self, index: int) -> nn.Module:
        """The `index`-th norm."""
        return self.get_submodule(self.norm_names[index])

    @property
    def norm1(self) -> nn.Module | None:
        """The first norm, if there is one."""
        return self.norm(1) if 1 in self.norm_names else None

    @property
    def norm2(self) -> nn.Module | None:
        """The second norm, if there is one."""
        return self.norm(2) if 2 in self.norm_names else None

    @property
    def norm3(self) -> nn.Module | None:
        """The third norm, if there is one."""
        return self.norm(3) if 3 in self.norm_names else None

    def middle_cfg(self, stride: int) -> Cfg | None:
        """Kind of the 3 x 3 convolution: deformable if the settings say so, for this stride too."""
        if self.settings.dcn is None:
            return self.settings.conv_cfg
        dcn: Any = copy.copy(self.settings.dcn)  # the copy of a ConfigDict knows the lines of its keys
        if dcn.pop('fallback_on_stride', False) and stride != 1:
            return self.settings.conv_cfg
        if self.settings.conv_cfg is not None:
            raise InvalidValueError(
                f'dcn and conv_cfg cannot both choose the 3 x 3 convolution, got dcn={dict(dcn)} and '
                f'conv_cfg={dict(self.settings.conv_cfg)}',
                key='dcn',
            )
        return cast(Cfg, dcn)

    def conv3x3(self, in_channels: int, out_channels: int, stride: int, groups: int | None = None) -> nn.Module:
        """The 3 x 3 convolution, by default with the groups of the settings."""
        return build_conv_layer(
            self.middle_cfg(stride),
            in_channels,
            out_channels,
            3,
            stride=stride,
            padding=self.settings.dilation,
            dilation=self.settings.dilation,
            groups=self.settings.groups if groups is None else groups,
            bias=False,
        )

    def conv1x1(self, in_channels: int, out_channels: int, stride: int = 1) -> nn.Module:
        """A 1 x 1 convolution."""
        return build_conv_layer(self.settings.conv_cfg, in_channels, out_channels, 1, stride=stride, bias=False)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        adopt_older_offsets(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _sum(self, x: Tensor) -> Tensor:
        shortcut: Tensor = x if self.downsample is None else self.downsample(x)
        return self.branch(x) + shortcut

    def forward(self, x: Tensor) -> Tensor:
        if self.settings.with_cp and x.requires_grad:
            x = self.relu(checkpoint(self._sum, x, use_reentrant=False))
        else:
            x = self.relu(self._sum(x))
        return x


class BasicBlock(ResidualBlock):
    """Two 3 x 3 convolutions (arXiv:1512.03385); see ResidualBlock."""

    expansion = 1
    last_norm = 'norm2'

    def build(self) -> None:
        settings = self.settings
        for key, value in (('dcn', settings.dcn), ('plugins', settings.plugins)):
            if value:
                raise InvalidValueError('BasicBlock (depth 18 and 34) takes neither dcn nor plugins', key=key)
        self.conv1 = self.conv3x3(self.in_channels, settings.width, self.stride)
        self.add_norm(1, settings.width)
        self.conv2 = build_conv_layer(
            settings.conv_cfg, settings.width, settings.out_channels, 3, padding=1, bias=False
        )
        self.add_norm(2, settings.out_channels)

    def branch(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(1)(self.conv1(x)))
        x = self.norm(2)(self.conv2(x))
        return x


class Bottleneck(ResidualBlock):
    """1 x 1, 3 x 3 and 1 x 1 convolution (arXiv:1512.03385); see ResidualBlock."""

    expansion = 4
    last_norm = 'norm3'

    def build(self) -> None:
        settings, caffe = self.settings, self.settings.style == 'caffe'
        self.conv1 = self.conv1x1(self.in_channels, settings.width, self.stride if caffe else 1)
        self.add_norm(1, settings.width)
        self.build_middle(1 if caffe else self.stride)
        self.conv3 = self.conv1x1(settings.width, settings.out_channels)
        self.add_norm(3, settings.out_channels)
        self.plugin_names = {position: self._add_plugins(position) for position in POSITIONS}

    def build_middle(self, stride: int) -> None:
        """Make the layers between the 1 x 1 convolutions."""
        self.conv2 = self.conv3x3(self.settings.width, self.settings.width, stride)
        self.add_norm(2, self.settings.width)

    def _add_plugins(self, position: str) -> list[str]:
        channels = self.settings.out_channels if position == 'after_conv3' else self.settings.width
        names = []
        for plugin in self.settings.plugins:
            if plugin['position'] == position:
                name, layer = build_plugin_layer(plugin['cfg'], in_channels=channels)
                if name in dict(self.named_children()):
                    raise InvalidValueError(f"plugins: {name!r} is there twice, give one a 'postfix'", key='plugins')
                self.add_module(name, layer)
                names.append(name)
        return names

    def plug(self, x: Tensor, position: str) -> Tensor:
        """Apply the plugins at `position`."""
        for name in self.plugin_names[position]:
            x = self.get_submodule(name)(x)
        return x

    def middle(self, x: Tensor) -> Tensor:
        """Apply the layers of `build_middle`."""
        x = self.relu(self.norm(2)(self.conv2(x)))
        return x

    def branch(self, x: Tensor) -> Tensor:
        x = self.plug(self.relu(self.norm(1)(self.conv1(x))), 'after_conv1')
        x = self.plug(self.middle(x), 'after_conv2')
        return self.plug(self.norm(3)(self.conv3(x)), 'after_conv3')


def projection(in_channels: int, stride: int, settings: BlockSettings) -> Sequential:
    """The projection of a stage's input to the size of its output."""
    layers: list[nn.Module] = []
    if settings.avg_down:
        layers.append(nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False))
        stride = 1
    layers.append(build_conv_layer(settings.conv_cfg, in_channels, settings.out_channels, 1, stride=stride, bias=False))
    layers.append(build_norm_layer(settings.norm_cfg, settings.out_channels)[1])
    return Sequential(*layers)


# (in_channels, stride, downsample, settings) -> block
BlockFactory = Callable[[int, int, 'nn.Module | None', BlockSettings], nn.Module]


def build_stage(
    make_block: BlockFactory, in_channels: int, num_blocks: int, stride: int, settings: BlockSettings
) -> Sequential:
    """A stack of blocks, the first of which has the stride and, where shapes differ, a projection.

    Args:
        make_block: a class of blocks, or a function with the same arguments.
        in_channels: channels of the stage's input.
        num_blocks: number of blocks.
        stride: of the first block.
        settings: of all blocks.
    """
    downsample = None
    if stride != 1 or in_channels != settings.out_channels:
        downsample = projection(in_channels, stride, settings)
    blocks = [make_block(in_channels, stride, downsample, settings)]
    blocks += [make_block(settings.out_channels, 1, None, settings) for _ in range(num_blocks - 1)]
    return Sequential(*blocks)
