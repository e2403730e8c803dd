"""The two blocks of residual networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmkit.layers import BaseModule, Sequential, build_conv_layer, build_norm_layer, build_plugin_layer
from mmkit.layers.deform_conv import adopt_older_offsets

Cfg = Mapping[str, Any]
POSITIONS = ('after_conv1', 'after_conv2', 'after_conv3')


@dataclass(frozen=True)
class BlockSettings:
    """What all blocks of a stage share.

    Args:
        norm_cfg: kind of norm.
        style: 'pytorch' puts the stride on the 3 x 3 convolution of a bottleneck, 'caffe' on the first 1 x 1.
        with_cp: recompute in the backward pass instead of keeping activations.
        conv_cfg: kind of convolution.
        dcn: kind of deformable convolution for the 3 x 3, None for a plain one.
        plugins: `cfg` and `position` of blocks to insert.
        zero_init_residual: start the last norm at 0, so that a block starts as an identity.
    """

    norm_cfg: Cfg
    style: str = 'pytorch'
    with_cp: bool = False
    conv_cfg: Cfg | None = None
    dcn: Cfg | None = None
    plugins: Sequence[Cfg] = ()
    zero_init_residual: bool = False


class ResidualBlock(BaseModule):
    """Something added to its input, or to a projection of it.

    Args:
        in_channels: channels of the input.
        width: channels inside.
        out_channels: channels of the output.
        stride, dilation: of the 3 x 3 convolution.
        downsample: projection of the input to the output's size.
        groups: of the 3 x 3 convolution.
        settings: see BlockSettings.
    """

    expansion: int
    last_norm: str

    def __init__(
        self,
        in_channels: int,
        width: int,
        out_channels: int,
        stride: int,
        dilation: int,
        downsample: nn.Module | None,
        groups: int,
        settings: BlockSettings,
    ) -> None:
        super().__init__(
            dict(type='Constant', val=0, override=dict(name=self.last_norm)) if settings.zero_init_residual else None
        )
        self.in_channels, self.width, self.out_channels = in_channels, width, out_channels
        self.stride, self.dilation, self.groups, self.settings = stride, dilation, groups, settings
        self.relu = nn.ReLU(inplace=True)
        self.norm_names: dict[str, str] = {}
        self.build()
        self.downsample = downsample

    def build(self) -> None:
        """Make the layers of the branch."""
        raise NotImplementedError

    def branch(self, x: Tensor) -> Tensor:
        """What is added to the input."""
        raise NotImplementedError

    def add_norm(self, index: int, channels: int) -> None:
        """Add the `index`-th norm under the name checkpoints use; it is reached as `norm<index>` too."""
        name, layer = build_norm_layer(self.settings.norm_cfg, channels, postfix=index)
        self.add_module(name, layer)
        self.norm_names[f'norm{index}'] = name

    @property
    def norm1(self) -> nn.Module:
        return getattr(self, self.norm_names['norm1'])

    @property
    def norm2(self) -> nn.Module:
        return getattr(self, self.norm_names['norm2'])

    @property
    def norm3(self) -> nn.Module:
        return getattr(self, self.norm_names['norm3'])

    def middle_cfg(self, stride: int) -> Cfg | None:
        """Kind of the middle convolution: deformable if the settings say so, also for this stride."""
        if self.settings.dcn is None:
            return self.settings.conv_cfg
        dcn = dict(self.settings.dcn)
        if dcn.pop('fallback_on_stride', False) and stride != 1:
            return self.settings.conv_cfg
        if self.settings.conv_cfg is not None:
            raise ValueError(
                f'{type(self).__name__}: dcn and conv_cfg cannot both choose the 3 x 3 convolution, got '
                f'dcn={dcn} and conv_cfg={dict(self.settings.conv_cfg)}'
            )
        return dcn

    def conv3x3(self, in_channels: int, out_channels: int, stride: int) -> nn.Module:
        """The middle convolution."""
        return build_conv_layer(
            self.middle_cfg(stride),
            in_channels,
            out_channels,
            3,
            stride=stride,
            padding=self.dilation,
            dilation=self.dilation,
            groups=self.groups,
            bias=False,
        )

    def conv1x1(self, in_channels: int, out_channels: int, stride: int = 1) -> nn.Module:
        return build_conv_layer(self.settings.conv_cfg, in_channels, out_channels, 1, stride=stride, bias=False)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        adopt_older_offsets(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def add(self, x: Tensor) -> Tensor:
        return self.branch(x) + (x if self.downsample is None else self.downsample(x))

    def forward(self, x: Tensor) -> Tensor:
        if self.settings.with_cp and x.requires_grad:
            return self.relu(checkpoint(self.add, x, use_reentrant=False))
        return self.relu(self.add(x))


class BasicBlock(ResidualBlock):
    """Two 3 x 3 convolutions (arXiv:1512.03385); see ResidualBlock."""

    expansion = 1
    last_norm = 'norm2'

    def build(self) -> None:
        if self.settings.dcn is not None or self.settings.plugins:
            raise ValueError('BasicBlock (depth 18 and 34) takes neither dcn nor plugins')
        self.conv1 = self.conv3x3(self.in_channels, self.width, self.stride)
        self.add_norm(1, self.width)
        self.conv2 = build_conv_layer(self.settings.conv_cfg, self.width, self.out_channels, 3, padding=1, bias=False)
        self.add_norm(2, self.out_channels)

    def branch(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm1(self.conv1(x)))
        return self.norm2(self.conv2(x))


class Bottleneck(ResidualBlock):
    """1 x 1, 3 x 3 and 1 x 1 convolution (arXiv:1512.03385); see ResidualBlock."""

    expansion = 4
    last_norm = 'norm3'

    def build(self) -> None:
        caffe = self.settings.style == 'caffe'
        self.conv1 = self.conv1x1(self.in_channels, self.width, self.stride if caffe else 1)
        self.add_norm(1, self.width)
        self.build_middle(1 if caffe else self.stride)
        self.conv3 = self.conv1x1(self.width, self.out_channels)
        self.add_norm(3, self.out_channels)
        self.plugin_names = {position: self._add_plugins(position) for position in POSITIONS}

    def build_middle(self, stride: int) -> None:
        """Make what lies between the 1 x 1 convolutions."""
        self.conv2 = self.conv3x3(self.width, self.width, stride)
        self.add_norm(2, self.width)

    def _add_plugins(self, position: str) -> list[str]:
        names = []
        for plugin in self.settings.plugins:
            if plugin['position'] == position:
                cfg = dict(plugin['cfg'])
                channels = self.out_channels if position == 'after_conv3' else self.width
                name, layer = build_plugin_layer(cfg, cfg.pop('postfix', ''), in_channels=channels)
                if hasattr(self, name):
                    raise ValueError(f"plugins: {name!r} is there twice, give one a 'postfix'")
                self.add_module(name, layer)
                names.append(name)
        return names

    def plug(self, x: Tensor, position: str) -> Tensor:
        for name in self.plugin_names[position]:
            x = getattr(self, name)(x)
        return x

    def middle(self, x: Tensor) -> Tensor:
        return self.relu(self.norm2(self.conv2(x)))

    def branch(self, x: Tensor) -> Tensor:
        x = self.plug(self.relu(self.norm1(self.conv1(x))), 'after_conv1')
        x = self.plug(self.middle(x), 'after_conv2')
        return self.plug(self.norm3(self.conv3(x)), 'after_conv3')


def projection(in_channels: int, out_channels: int, stride: int, avg_down: bool, settings: BlockSettings) -> Sequential:
    """Input of a stage brought to the size of its output; `avg_down` strides by average pooling (arXiv:1812.01187)."""
    layers: list[nn.Module] = []
    if avg_down:
        layers.append(nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False))
        stride = 1
    layers.append(build_conv_layer(settings.conv_cfg, in_channels, out_channels, 1, stride=stride, bias=False))
    layers.append(build_norm_layer(settings.norm_cfg, out_channels)[1])
    return Sequential(*layers)


MakeBlock = Callable[[int, int, 'nn.Module | None'], nn.Module]


def build_stage(
    make_block: MakeBlock,
    in_channels: int,
    out_channels: int,
    num_blocks: int,
    stride: int,
    avg_down: bool,
    settings: BlockSettings,
) -> Sequential:
    """Blocks in a row, of which the first has the stride and, where shapes differ, a projection.

    Args:
        make_block: (in_channels, stride, downsample) -> block.
        in_channels, out_channels: of the whole stage.
        num_blocks: how many.
        stride: of the first.
        avg_down: see `projection`.
        settings: of the projection.
    """
    downsample = None
    if stride != 1 or in_channels != out_channels:
        downsample = projection(in_channels, out_channels, stride, avg_down, settings)
    blocks = [make_block(in_channels, stride, downsample)]
    blocks += [make_block(out_channels, 1, None) for _ in range(num_blocks - 1)]
    return Sequential(*blocks)
