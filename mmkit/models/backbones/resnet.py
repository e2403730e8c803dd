"""ResNet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn
from typing_extensions import Self, TypedDict, Unpack

from mmkit.errors import InvalidValueError
from mmkit.layers import BaseModule, InitCfg, build_conv_layer, build_norm_layer, freeze, freeze_batch_norm
from mmkit.models.backbones.init_cfg import resolve_init_cfg
from mmkit.models.backbones.residual_blocks import (
    POSITIONS,
    BasicBlock,
    BlockFactory,
    BlockSettings,
    Bottleneck,
    ResidualBlock,
    build_stage,
)
from mmkit.registry import BACKBONES, Cfg

BN = dict(type='BN', requires_grad=True)


class ResidualOptions(TypedDict, total=False):
    """Keyword arguments that all residual networks have with the same defaults."""

    in_channels: int
    dilations: Sequence[int]
    out_indices: Sequence[int]
    style: str
    frozen_stages: int
    conv_cfg: Cfg | None
    norm_cfg: Cfg
    norm_eval: bool
    dcn: Cfg | None
    stage_with_dcn: Sequence[bool]
    plugins: Sequence[Cfg] | None
    with_cp: bool
    zero_init_residual: bool
    pretrained: str | None
    init_cfg: InitCfg


class ResNetV1dOptions(ResidualOptions, total=False):
    """Keyword arguments of ResNetV1d, beside `depth`."""

    stem_channels: int | None
    base_channels: int
    num_stages: int
    strides: Sequence[int]


class ResNetOptions(ResNetV1dOptions, total=False):
    """Keyword arguments of ResNet, beside `depth`."""

    deep_stem: bool
    avg_down: bool


@BACKBONES.register_module()
class ResNet(BaseModule):
    """Residual network (arXiv:1512.03385).

    Args:
        depth: 18, 34, 50, 101 or 152.
        in_channels: channels of the image.
        stem_channels: channels of the stem, None for `base_channels`.
        base_channels: channels of the first stage, before the block's expansion.
        num_stages: 1 to 4.
        strides, dilations: one per stage.
        out_indices: stages whose output is returned, from 0.
        style: 'pytorch' or 'caffe', which convolution of a bottleneck has the stride.
        deep_stem: three 3 x 3 convolutions instead of one 7 x 7.
        avg_down: projections stride by average pooling.
        frozen_stages: the stem (0) and the stages up to this one are not trained; -1 for none.
        conv_cfg, norm_cfg: kinds of layer.
        norm_eval: keep batch norms in eval mode while training.
        dcn: deformable convolution (`type`, `deform_groups`, `fallback_on_stride`) for the stages of `stage_with_dcn`.
        stage_with_dcn: one bool per stage.
        plugins: dicts of `cfg`, `position` ('after_conv1', ..2, ..3) and, optionally, `stages` (one bool per stage).
        with_cp: recompute activations in the backward pass instead of keeping them.
        zero_init_residual: blocks start as identities; only without `init_cfg` and `pretrained`.
        pretrained: deprecated, use init_cfg.
        init_cfg: initial weights.
    """

    arch: ClassVar[dict[int, tuple[type[ResidualBlock], tuple[int, ...]]]] = {
        18: (BasicBlock, (2, 2, 2, 2)),
        34: (BasicBlock, (3, 4, 6, 3)),
        50: (Bottleneck, (3, 4, 6, 3)),
        101: (Bottleneck, (3, 4, 23, 3)),
        152: (Bottleneck, (3, 8, 36, 3)),
    }

    def __init__(
        self,
        depth: int,
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
        super().__init__(resolve_init_cfg(pretrained, init_cfg))
        self.depth = depth
        self.block, stage_blocks = self.layout(depth)
        self.stage_blocks = stage_blocks[:num_stages]
        self.base_channels, self.stem_channels = base_channels, stem_channels or base_channels
        self.num_stages, self.strides, self.dilations = num_stages, tuple(strides), tuple(dilations)
        self.out_indices, self.style = tuple(out_indices), style
        self.deep_stem, self.avg_down = deep_stem, avg_down
        self.frozen_stages, self.norm_eval = frozen_stages, norm_eval
        self.conv_cfg, self.norm_cfg = conv_cfg, norm_cfg
        self.dcn, self.stage_with_dcn, self.plugins, self.with_cp = dcn, tuple(stage_with_dcn), plugins, with_cp
        self.zero_init_residual = zero_init_residual and pretrained is None and not init_cfg
        self._check()

        self.norm1_name: str | None = None
        self.stem_names = self.build_stem(in_channels)
        self.res_layers: list[str] = []
        channels = self.stem_channels
        for stage in range(num_stages):
            settings = self.settings(stage)
            layer = build_stage(
                self.block_factory(), channels, self.stage_blocks[stage], stride=self.strides[stage], settings=settings
            )
            self.res_layers.append(f'layer{stage + 1}')
            self.add_module(self.res_layers[-1], layer)
            channels = settings.out_channels
        self.feat_dim = channels
        self._freeze_stages()

    def layout(self, depth: int) -> tuple[type[ResidualBlock], tuple[int, ...]]:
        """The block, and the number of blocks of each stage."""
        if depth not in self.arch:
            name = type(self).__name__
            raise InvalidValueError(f'{name}: depth is one of {sorted(self.arch)}, got {depth!r}', key='depth')
        return self.arch[depth]

    def block_factory(self) -> BlockFactory:
        """The class of the blocks, with the arguments that only a variant has."""
        return self.block

    def _check(self) -> None:
        num_stages = self.num_stages
        if not 1 <= num_stages <= 4:
            raise InvalidValueError(f'num_stages is 1 to 4, got {num_stages}', key='num_stages')
        per_stage: dict[str, Sequence[object]] = dict(strides=self.strides, dilations=self.dilations)
        if self.dcn is not None:
            per_stage['stage_with_dcn'] = self.stage_with_dcn
        for key, values in per_stage.items():
            if len(values) != num_stages:
                raise InvalidValueError(f'{key} has one value for each of the {num_stages} stages, got {values}', key)
        if max(self.out_indices) >= num_stages:
            raise InvalidValueError(
                f'out_indices are stages 0 to {num_stages - 1}, got {self.out_indices}', key='out_indices'
            )
        if self.style not in ('pytorch', 'caffe'):
            raise InvalidValueError(f"style is 'pytorch' or 'caffe', got {self.style!r}", key='style')
        if self.frozen_stages not in range(-1, num_stages + 1):
            raise InvalidValueError(
                f'frozen_stages is from -1 to {num_stages}, got {self.frozen_stages!r}', key='frozen_stages'
            )

    def build_stem(self, in_channels: int) -> tuple[str, ...]:
        """Make the layers before the first stage, and return their names in order."""
        names = self._deep_stem(in_channels) if self.deep_stem else self.plain_stem(in_channels, kernel_size=7)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        return (*names, 'maxpool')

    def plain_stem(self, in_channels: int, kernel_size: int) -> tuple[str, ...]:
        """Make a stem of one convolution with stride 2, its norm and a ReLU."""
        self.conv1 = self._stem_conv(in_channels, self.stem_channels, kernel_size, stride=2)
        self.norm1_name, norm = build_norm_layer(self.norm_cfg, self.stem_channels, postfix=1)
        self.add_module(self.norm1_name, norm)
        self.relu = nn.ReLU(inplace=True)
        return 'conv1', self.norm1_name, 'relu'

    def _deep_stem(self, in_channels: int) -> tuple[str, ...]:
        half = self.stem_channels // 2
        layers: list[nn.Module] = []
        for source, target, stride in ((in_channels, half, 2), (half, half, 1), (half, self.stem_channels, 1)):
            layers.append(self._stem_conv(source, target, 3, stride))
            layers.append(build_norm_layer(self.norm_cfg, target)[1])
            layers.append(nn.ReLU(inplace=True))
        self.stem = nn.Sequential(*layers)
        return ('stem',)

    def _stem_conv(self, in_channels: int, out_channels: int, kernel_size: int, stride: int) -> nn.Module:
        return build_conv_layer(
            self.conv_cfg, in_channels, out_channels, kernel_size, stride=stride, padding=kernel_size // 2, bias=False
        )

    @property
    def norm1(self) -> nn.Module | None:
        """The norm of the stem; None if the stem is deep."""
        return self.get_submodule(self.norm1_name) if self.norm1_name else None

    def settings(self, stage: int) -> BlockSettings:
        """Settings of the blocks of a stage."""
        plugins = []
        for number, plugin in enumerate(self.plugins or ()):
            if plugin.get('position') not in POSITIONS:
                raise InvalidValueError(
                    f'plugins: position is one of {POSITIONS}, got {plugin.get("position")!r}',
                    key=f'plugins.{number}.position',
                )
            stages = plugin.get('stages')
            if stages is not None and len(stages) != self.num_stages:
                raise InvalidValueError(
                    f'plugins: stages has one bool for each of the {self.num_stages} stages, got {stages}',
                    key=f'plugins.{number}.stages',
                )
            if stages is None or stages[stage]:
                plugins.append(plugin)
        width, out_channels, groups = self.stage_width(stage)
        return BlockSettings(
            width=width,
            out_channels=out_channels,
            norm_cfg=self.norm_cfg,
            dilation=self.dilations[stage],
            groups=groups,
            style=self.style,
            avg_down=self.avg_down,
            with_cp=self.with_cp,
            conv_cfg=self.conv_cfg,
            dcn=self.dcn if self.dcn is not None and self.stage_with_dcn[stage] else None,
            plugins=tuple(plugins),
            zero_init_residual=self.zero_init_residual,
        )

    def stage_width(self, stage: int) -> tuple[int, int, int]:
        """Channels inside the blocks of a stage, channels of its output, and groups of its 3 x 3 convolutions."""
        planes = self.base_channels * 2**stage
        return planes, planes * self.block.expansion, 1

    def _freeze_stages(self) -> None:
        if self.frozen_stages >= 0:
            for name in (*self.stem_names, *self.res_layers[: self.frozen_stages]):
                freeze(self.get_submodule(name))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (B, C, H, W) -> the outputs of `out_indices`, (B, C_i, H / 4, W / 4) and so on."""
        for name in self.stem_names:
            x = self.get_submodule(name)(x)
        outs = []
        for stage, name in enumerate(self.res_layers):
            x = self.get_submodule(name)(x)
            if stage in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def train(self, mode: bool = True) -> Self:
        """Training mode, in which frozen stages and, with `norm_eval`, batch norms stay in eval mode."""
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            freeze_batch_norm(self)
        return self


@BACKBONES.register_module()
class ResNetV1d(ResNet):
    """ResNet with `deep_stem` and `avg_down` (arXiv:1812.01187); the other arguments are ResNet's."""

    def __init__(self, depth: int, **options: Unpack[ResNetV1dOptions]) -> None:
        super().__init__(depth, deep_stem=True, avg_down=True, **options)
