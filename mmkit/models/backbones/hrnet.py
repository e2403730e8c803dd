"""HRNet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, nn
from typing_extensions import Self

from mmkit.errors import InvalidValueError
from mmkit.layers import (
    BaseModule,
    InitCfg,
    ModuleList,
    Sequential,
    build_conv_layer,
    build_norm_layer,
    freeze_batch_norm,
)
from mmkit.models.backbones.init_cfg import resolve_init_cfg
from mmkit.models.backbones.residual_blocks import BasicBlock, BlockSettings, Bottleneck, ResidualBlock, build_stage
from mmkit.registry import BACKBONES, Cfg

BLOCKS: dict[str, type[ResidualBlock]] = dict(BASIC=BasicBlock, BOTTLENECK=Bottleneck)
BN = dict(type='BN')
STAGES = ('stage1', 'stage2', 'stage3', 'stage4')
STAGE_KEYS = ('num_modules', 'num_branches', 'block', 'num_blocks', 'num_channels')


def _conv_norm(
    settings: BlockSettings, in_channels: int, out_channels: int, *, kernel_size: int, stride: int = 1
) -> list[nn.Module]:
    return [
        build_conv_layer(
            settings.conv_cfg,
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=kernel_size // 2,
            bias=False,
        ),
        build_norm_layer(settings.norm_cfg, out_channels)[1],
    ]


def _downsample(channels: Sequence[int], settings: BlockSettings, last_relu: bool) -> Sequential:
    """3 x 3 convolutions with stride 2 from each number of channels to the next, with ReLUs between them."""
    steps = []
    for index, (source, target) in enumerate(zip(channels, channels[1:]), 1):
        relu = [nn.ReLU(inplace=True)] if last_relu or index < len(channels) - 1 else []
        steps.append(Sequential(*_conv_norm(settings, source, target, kernel_size=3, stride=2), *relu))
    return Sequential(*steps)


class HRModule(BaseModule):
    """Parallel branches, each at half the size of the one before, and the fusion of their outputs.

    Args:
        block: kind of residual block.
        num_blocks: blocks per branch.
        in_channels: input channels per branch.
        num_channels: width of the blocks, per branch.
        num_outs: number of fused branches, the finest first.
        settings: of the blocks.
    """

    def __init__(
        self,
        block: type[ResidualBlock],
        *,
        num_blocks: Sequence[int],
        in_channels: Sequence[int],
        num_channels: Sequence[int],
        num_outs: int,
        settings: BlockSettings,
    ) -> None:
        super().__init__()
        channels = [width * block.expansion for width in num_channels]
        self.branches = ModuleList(
            _branch(block, source, width, count, settings)
            for source, width, count in zip(in_channels, num_channels, num_blocks, strict=True)
        )
        self.fuse_layers: ModuleList | None = None
        if len(channels) > 1:
            self.fuse_layers = ModuleList(
                ModuleList(self._exchange(source, target, channels, settings) for source in range(len(channels)))
                for target in range(num_outs)
            )
        self.relu = nn.ReLU(inplace=False)

    @staticmethod
    def _exchange(source: int, target: int, channels: Sequence[int], settings: BlockSettings) -> nn.Module | None:
        """Layers from branch `source` to the size of branch `target`; None if they are the same."""
        if source == target:
            return None
        if source > target:
            upsample = nn.Upsample(scale_factor=2 ** (source - target), mode='nearest')
            return Sequential(*_conv_norm(settings, channels[source], channels[target], kernel_size=1), upsample)
        return _downsample([channels[source]] * (target - source) + [channels[target]], settings, last_relu=False)

    def forward(self, x: Sequence[Tensor]) -> list[Tensor]:
        """Branches (B, C_i, H / 2^i, W / 2^i), in and out."""
        x = [branch(each) for branch, each in zip(self.branches, x, strict=True)]
        if self.fuse_layers is None:
            return x
        outs: list[Tensor] = []
        for layers in self.fuse_layers:
            assert isinstance(layers, ModuleList)
            total, *parts = (each if layer is None else layer(each) for layer, each in zip(layers, x, strict=True))
            for part in parts:
                total = total + part
            outs.append(self.relu(total))
        return outs


def _branch(
    block: type[ResidualBlock], in_channels: int, width: int, num_blocks: int, settings: BlockSettings
) -> Sequential:
    settings = replace(settings, width=width, out_channels=width * block.expansion)
    return build_stage(block, in_channels, num_blocks, stride=1, settings=settings)


@BACKBONES.register_module()
class HRNet(BaseModule):
    """High-resolution network (arXiv:1908.07919).

    Args:
        extra: 'stage1' to 'stage4', each a dict of `num_modules`, `num_branches`, `block` ('BASIC' or 'BOTTLENECK'),
            `num_blocks` and `num_channels` (one value per branch).
        in_channels: channels of the image.
        conv_cfg, norm_cfg: kinds of layer.
        norm_eval: keep batch norms in eval mode while training.
        with_cp: recompute activations in the backward pass instead of keeping them.
        zero_init_residual: blocks start as identities; only without `init_cfg` and `pretrained`.
        multiscale_output: return all branches of the last stage, not only the finest one.
        pretrained: deprecated, use init_cfg.
        init_cfg: initial weights.
    """

    def __init__(
        self,
        extra: Cfg,
        in_channels: int = 3,
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg = BN,
        norm_eval: bool = True,
        with_cp: bool = False,
        zero_init_residual: bool = False,
        multiscale_output: bool = True,
        pretrained: str | None = None,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(resolve_init_cfg(pretrained, init_cfg))
        _check_extra(extra)
        self.norm_eval, self.multiscale_output = norm_eval, multiscale_output
        first = extra['stage1']
        block, width = BLOCKS[first['block']], first['num_channels'][0]
        settings = BlockSettings(
            width=width,
            out_channels=width * block.expansion,
            norm_cfg=norm_cfg,
            with_cp=with_cp,
            conv_cfg=conv_cfg,
            zero_init_residual=zero_init_residual and pretrained is None and not init_cfg,
        )
        self.conv1 = build_conv_layer(conv_cfg, in_channels, 64, 3, stride=2, padding=1, bias=False)
        self.norm1_name, norm1 = build_norm_layer(norm_cfg, 64, postfix=1)
        self.add_module(self.norm1_name, norm1)
        self.conv2 = build_conv_layer(conv_cfg, 64, 64, 3, stride=2, padding=1, bias=False)
        self.norm2_name, norm2 = build_norm_layer(norm_cfg, 64, postfix=2)
        self.add_module(self.norm2_name, norm2)
        self.relu = nn.ReLU(inplace=True)

        self.layer1 = build_stage(block, 64, first['num_blocks'][0], stride=1, settings=settings)
        channels = [settings.out_channels]
        for index, name in enumerate(STAGES[1:], 1):
            stage = extra[name]
            block = BLOCKS[stage['block']]
            wanted = [width * block.expansion for width in stage['num_channels']]
            self.add_module(f'transition{index}', _transition(channels, wanted, settings))
            self.add_module(
                name, _stage(stage, block, wanted, all_out=multiscale_output or name != 'stage4', settings=settings)
            )
            channels = wanted

    @property
    def norm1(self) -> nn.Module:
        """The first norm of the stem."""
        return self.get_submodule(self.norm1_name)

    @property
    def norm2(self) -> nn.Module:
        """The second norm of the stem."""
        return self.get_submodule(self.norm2_name)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (B, C, H, W) -> the branches of the last stage, (B, C_i, H / 4, W / 4) and so on."""
        x = self.relu(self.norm1(self.conv1(x)))
        x = self.relu(self.norm2(self.conv2(x)))
        branches = [self.layer1(x)]
        for index, name in enumerate(STAGES[1:], 1):
            transition = self.get_submodule(f'transition{index}')
            assert isinstance(transition, ModuleList)
            branches = [_enter(layer, branches, number) for number, layer in enumerate(transition)]
            branches = self.get_submodule(name)(branches)
        return tuple(branches)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if mode and self.norm_eval:
            freeze_batch_norm(self)
        return self


def _transition(before: Sequence[int], after: Sequence[int], settings: BlockSettings) -> ModuleList:
    """Layers from the branches of a stage, given by their channels, to those of the next."""
    layers: list[nn.Module | None] = []
    for index, target in enumerate(after):
        if index >= len(before):
            layers.append(_downsample([before[-1]] * (index + 1 - len(before)) + [target], settings, last_relu=True))
        elif before[index] == target:
            layers.append(None)
        else:
            layers.append(
                Sequential(*_conv_norm(settings, before[index], target, kernel_size=3), nn.ReLU(inplace=True))
            )
    return ModuleList(layers)


def _stage(
    stage: Cfg, block: type[ResidualBlock], channels: Sequence[int], all_out: bool, settings: BlockSettings
) -> Sequential:
    last = stage['num_modules'] - 1
    modules = [
        HRModule(
            block,
            num_blocks=stage['num_blocks'],
            in_channels=channels,
            num_channels=stage['num_channels'],
            num_outs=len(channels) if all_out or index < last else 1,
            settings=settings,
        )
        for index in range(stage['num_modules'])
    ]
    return Sequential(*modules)


def _enter(layer: nn.Module | None, branches: Sequence[Tensor], number: int) -> Tensor:
    """The input of a branch, from its predecessor or, for a new branch, from the coarsest."""
    source = branches[min(number, len(branches) - 1)]
    if layer is not None:
        source = layer(source)
    return source


def _check_extra(extra: Cfg) -> None:
    for name in STAGES:
        if name not in extra:
            raise InvalidValueError(f'HRNet: extra has {list(STAGES)}, got {list(extra)}', key='extra')
        stage = extra[name]
        lacking = [key for key in STAGE_KEYS if key not in stage]
        if lacking:
            raise InvalidValueError(f'HRNet: extra.{name} lacks {lacking}', key='extra')
        if stage['block'] not in BLOCKS:
            raise InvalidValueError(
                f'HRNet: extra.{name}.block is one of {list(BLOCKS)}, got {stage["block"]!r}', key='extra'
            )
        for key in ('num_blocks', 'num_channels'):
            if len(stage[key]) != stage['num_branches']:
                raise InvalidValueError(
                    f'HRNet: extra.{name}.{key} has one value for each of the {stage["num_branches"]} '
                    f'branches, got {stage[key]}',
                    key='extra',
                )
