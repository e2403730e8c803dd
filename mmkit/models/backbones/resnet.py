"""ResNet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from mmkit.layers import BaseModule, Sequential, build_conv_layer, build_norm_layer, freeze, freeze_batch_norm
from mmkit.layers.init import InitCfg
from mmkit.models.backbones.residual_blocks import (
    POSITIONS,
    BasicBlock,
    BlockSettings,
    Bottleneck,
    ResidualBlock,
    build_stage,
)
from mmkit.models.backbones.starting_weights import starting_weights
from mmkit.registry import BACKBONES

Cfg = Mapping[str, Any]
BN = dict(type='BN', requires_grad=True)


@BACKBONES.register_module()
class ResNet(BaseModule):
    """Residual network (arXiv:1512.03385).

    Args:
        depth: 18, 34, 50, 101 or 152.
        in_channels: of the image.
        stem_channels: of the stem, None is `base_channels`.
        base_channels: of the first stage, before the block's expansion.
        num_stages: 1 to 4.
        strides, dilations: one per stage.
        out_indices: stages whose output is returned, from 0.
        style: 'pytorch' or 'caffe', which convolution of a bottleneck has the stride.
        deep_stem: three 3 x 3 convolutions instead of one 7 x 7.
        avg_down: stride projections by average pooling.
        frozen_stages: the stem (0) and stages up to this one do not train; -1 for none.
        conv_cfg, norm_cfg: kinds of layer.
        norm_eval: keep batch norms in eval mode while training.
        dcn: deformable convolution (`type`, `deform_groups`, `fallback_on_stride`) for the stages of `stage_with_dcn`.
        stage_with_dcn: one bool per stage.
        plugins: dicts of `cfg`, `position` ('after_conv1', ..2, ..3) and, optionally, `stages` (one bool per stage).
        with_cp: recompute in the backward pass instead of keeping activations.
        zero_init_residual: blocks start as identities; only without `init_cfg` and `pretrained`.
        pretrained: deprecated, use init_cfg.
        init_cfg: how the weights start.
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
        name = type(self).__name__
        super().__init__(starting_weights(name, pretrained, init_cfg))
        if depth not in self.arch:
            raise ValueError(f'{name}: depth is one of {sorted(self.arch)}, got {depth!r}')
        self.depth = depth
        self.block, stage_blocks = self.arch[depth]
        self.stage_blocks = stage_blocks[:num_stages]
        self._check(num_stages, strides, dilations, out_indices, style, stage_with_dcn if dcn is not None else None)
        self.base_channels, self.stem_channels = base_channels, stem_channels or base_channels
        self.num_stages, self.strides, self.dilations = num_stages, tuple(strides), tuple(dilations)
        self.out_indices, self.style = tuple(out_indices), style
        self.deep_stem, self.avg_down = deep_stem, avg_down
        if frozen_stages not in range(-1, num_stages + 1):
            raise ValueError(f'frozen_stages is from -1 to {num_stages}, got {frozen_stages!r}')
        self.frozen_stages, self.norm_eval = frozen_stages, norm_eval
        self.conv_cfg, self.norm_cfg = conv_cfg, norm_cfg
        self.dcn, self.stage_with_dcn, self.plugins, self.with_cp = dcn, tuple(stage_with_dcn), plugins, with_cp
        self.zero_init_residual = zero_init_residual and pretrained is None and not init_cfg

        self._build_stem(in_channels)
        self.res_layers: list[str] = []
        channels = self.stem_channels
        for stage in range(num_stages):
            layer, channels = self.build_stage(stage, channels)
            self.res_layers.append(f'layer{stage + 1}')
            self.add_module(self.res_layers[-1], layer)
        self.feat_dim = channels
        self._freeze_stages()

    @staticmethod
    def _check(
        num_stages: int,
        strides: Sequence[int],
        dilations: Sequence[int],
        out_indices: Sequence[int],
        style: str,
        stage_with_dcn: Sequence[bool] | None,
    ) -> None:
        if not 1 <= num_stages <= 4:
            raise ValueError(f'num_stages is 1 to 4, got {num_stages}')
        for key, values in (('strides', strides), ('dilations', dilations), ('stage_with_dcn', stage_with_dcn)):
            if values is not None and len(values) != num_stages:
                raise ValueError(f'{key} has one value for each of the {num_stages} stages, got {values!r}')
        if max(out_indices) >= num_stages:
            raise ValueError(f'out_indices are stages 0 to {num_stages - 1}, got {out_indices!r}')
        if style not in ('pytorch', 'caffe'):
            raise ValueError(f"style is 'pytorch' or 'caffe', got {style!r}")

    def _build_stem(self, in_channels: int) -> None:
        if self.deep_stem:
            half = self.stem_channels // 2
            layers: list[nn.Module] = []
            for source, target, stride in ((in_channels, half, 2), (half, half, 1), (half, self.stem_channels, 1)):
                layers += [
                    build_conv_layer(self.conv_cfg, source, target, 3, stride=stride, padding=1, bias=False),
                    build_norm_layer(self.norm_cfg, target)[1],
                    nn.ReLU(inplace=True),
                ]
            self.stem = nn.Sequential(*layers)
        else:
            self.conv1 = build_conv_layer(
                self.conv_cfg, in_channels, self.stem_channels, 7, stride=2, padding=3, bias=False
            )
            self.norm1_name, norm = build_norm_layer(self.norm_cfg, self.stem_channels, postfix=1)
            self.add_module(self.norm1_name, norm)
            self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)

    @property
    def norm1(self) -> nn.Module:
        """The norm of the stem; not there when it is deep."""
        return getattr(self, self.norm1_name)

    def settings(self, stage: int) -> BlockSettings:
        """What the blocks of a stage share."""
        plugins = []
        for plugin in self.plugins or ():
            if plugin.get('position') not in POSITIONS:
                raise ValueError(f'plugins: position is one of {POSITIONS}, got {plugin.get("position")!r}')
            stages = plugin.get('stages')
            if stages is not None and len(stages) != self.num_stages:
                raise ValueError(f'plugins: stages has one bool for each of the {self.num_stages} stages, got {stages}')
            if stages is None or stages[stage]:
                plugins.append(plugin)
        dcn = self.dcn if self.dcn is not None and self.stage_with_dcn[stage] else None
        return BlockSettings(
            self.norm_cfg, self.style, self.with_cp, self.conv_cfg, dcn, tuple(plugins), self.zero_init_residual
        )

    def stage_width(self, stage: int) -> tuple[int, int, int]:
        """Channels inside the blocks of a stage, channels of its output, and groups of its 3 x 3 convolutions."""
        planes = self.base_channels * 2**stage
        return planes, planes * self.block.expansion, 1

    def make_block(
        self,
        in_channels: int,
        width: int,
        out_channels: int,
        stride: int,
        dilation: int,
        downsample: nn.Module | None,
        groups: int,
        settings: BlockSettings,
    ) -> ResidualBlock:
        """One block; the arguments are those of ResidualBlock."""
        return self.block(in_channels, width, out_channels, stride, dilation, downsample, groups, settings)

    def build_stage(self, stage: int, in_channels: int) -> tuple[Sequential, int]:
        """The layers of a stage and their output channels."""
        settings, stride, dilation = self.settings(stage), self.strides[stage], self.dilations[stage]
        width, out_channels, groups = self.stage_width(stage)

        def make_block(channels: int, stride: int, downsample: nn.Module | None) -> ResidualBlock:
            return self.make_block(channels, width, out_channels, stride, dilation, downsample, groups, settings)

        layer = build_stage(
            make_block, in_channels, out_channels, self.stage_blocks[stage], stride, self.avg_down, settings
        )
        return layer, out_channels

    def _freeze_stages(self) -> None:
        if self.frozen_stages >= 0:
            for module in [self.stem] if self.deep_stem else [self.conv1, self.norm1]:
                freeze(module)
        for name in self.res_layers[: max(self.frozen_stages, 0)]:
            freeze(getattr(self, name))

    def forward_stem(self, x: Tensor) -> Tensor:
        """What comes before the first stage."""
        return self.maxpool(self.stem(x) if self.deep_stem else self.relu(self.norm1(self.conv1(x))))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (B, C, H, W) -> the outputs of `out_indices`, (B, C_i, H / 4, W / 4) and so on."""
        x = self.forward_stem(x)
        outs = []
        for stage, name in enumerate(self.res_layers):
            x = getattr(self, name)(x)
            if stage in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def train(self, mode: bool = True) -> ResNet:
        """Training mode, in which frozen stages and, with `norm_eval`, batch norms stay in eval mode."""
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            freeze_batch_norm(self)
        return self


@BACKBONES.register_module()
class ResNetV1d(ResNet):
    """ResNet with `deep_stem` and `avg_down` (arXiv:1812.01187); the other arguments are ResNet's."""

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
            True,
            True,
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
