"""HRNet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from mmkit.layers import BaseModule, ModuleList, Sequential, build_conv_layer, build_norm_layer, freeze_batch_norm
from mmkit.layers.init import InitCfg
from mmkit.models.backbones.residual_blocks import BasicBlock, BlockSettings, Bottleneck, ResidualBlock, build_stage
from mmkit.models.backbones.starting_weights import starting_weights
from mmkit.registry import BACKBONES

Cfg = Mapping[str, Any]
BLOCKS: dict[str, type[ResidualBlock]] = dict(BASIC=BasicBlock, BOTTLENECK=Bottleneck)
BN = dict(type='BN')
STAGES = ('stage1', 'stage2', 'stage3', 'stage4')
STAGE_KEYS = ('num_modules', 'num_branches', 'block', 'num_blocks', 'num_channels')


def _down(source: int, target: int, relu: bool, settings: BlockSettings) -> Sequential:
    """Half the size, by a 3 x 3 convolution."""
    layers: list[nn.Module] = [
        build_conv_layer(settings.conv_cfg, source, target, 3, stride=2, padding=1, bias=False),
        build_norm_layer(settings.norm_cfg, target)[1],
    ]
    return Sequential(*layers, nn.ReLU(inplace=True)) if relu else Sequential(*layers)


class HRModule(BaseModule):
    """Parallel branches, each half the size of the one before, that exchange what they found.

    Args:
        block: kind of residual block.
        num_blocks: per branch.
        in_channels: per branch.
        num_channels: width of the blocks, per branch.
        num_outs: how many branches come out, the finest first.
        settings: of the blocks.
    """

    def __init__(
        self,
        block: type[ResidualBlock],
        num_blocks: Sequence[int],
        in_channels: Sequence[int],
        num_channels: Sequence[int],
        num_outs: int,
        settings: BlockSettings,
    ) -> None:
        super().__init__()
        channels = [width * block.expansion for width in num_channels]
        self.branches = ModuleList(
            [
                _stage(block, source, width, count, settings)
                for source, width, count in zip(in_channels, num_channels, num_blocks, strict=True)
            ]
        )
        self.fuse_layers = (
            ModuleList(
                [
                    ModuleList([self._exchange(source, target, channels, settings) for source in range(len(channels))])
                    for target in range(num_outs)
                ]
            )
            if len(channels) > 1
            else None
        )
        self.relu = nn.ReLU(inplace=False)

    @staticmethod
    def _exchange(source: int, target: int, channels: Sequence[int], settings: BlockSettings) -> nn.Module | None:
        """What brings branch `source` to the size of branch `target`; None if they are the same."""
        if source == target:
            return None
        if source > target:
            return Sequential(
                build_conv_layer(settings.conv_cfg, channels[source], channels[target], 1, bias=False),
                build_norm_layer(settings.norm_cfg, channels[target])[1],
                nn.Upsample(scale_factor=2 ** (source - target), mode='nearest'),
            )
        steps = target - source
        return Sequential(
            *[
                _down(channels[source], channels[target if step == steps - 1 else source], step < steps - 1, settings)
                for step in range(steps)
            ]
        )

    def forward(self, x: Sequence[Tensor]) -> list[Tensor]:
        """Branches (B, C_i, H / 2^i, W / 2^i), in and out."""
        x = [branch(each) for branch, each in zip(self.branches, x, strict=True)]
        if self.fuse_layers is None:
            return x
        outs = []
        for layers in self.fuse_layers:
            parts = [each if layer is None else layer(each) for layer, each in zip(layers, x, strict=True)]
            total = parts[0]
            for part in parts[1:]:
                total = total + part
            outs.append(self.relu(total))
        return outs


def _stage(
    block: type[ResidualBlock], in_channels: int, width: int, num_blocks: int, settings: BlockSettings
) -> Sequential:
    out_channels = width * block.expansion

    def make_block(channels: int, stride: int, downsample: nn.Module | None) -> ResidualBlock:
        return block(channels, width, out_channels, stride, 1, downsample, 1, settings)

    return build_stage(make_block, in_channels, out_channels, num_blocks, 1, False, settings)


@BACKBONES.register_module()
class HRNet(BaseModule):
    """High-resolution network (arXiv:1908.07919).

    Args:
        extra: 'stage1' to 'stage4', each a dict of `num_modules`, `num_branches`, `block` ('BASIC' or 'BOTTLENECK'),
            `num_blocks` and `num_channels` (one value per branch).
        in_channels: of the image.
        conv_cfg, norm_cfg: kinds of layer.
        norm_eval: keep batch norms in eval mode while training.
        with_cp: recompute in the backward pass instead of keeping activations.
        zero_init_residual: blocks start as identities; only without `init_cfg` and `pretrained`.
        multiscale_output: return all branches of the last stage, otherwise the finest one.
        pretrained: deprecated, use init_cfg.
        init_cfg: how the weights start.
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
        super().__init__(starting_weights('HRNet', pretrained, init_cfg))
        _check_extra(extra)
        self.norm_eval, self.multiscale_output = norm_eval, multiscale_output
        self.settings = BlockSettings(
            norm_cfg,
            'pytorch',
            with_cp,
            conv_cfg,
            zero_init_residual=zero_init_residual and pretrained is None and not init_cfg,
        )
        self.conv1 = build_conv_layer(conv_cfg, in_channels, 64, 3, stride=2, padding=1, bias=False)
        self.norm1_name, norm1 = build_norm_layer(norm_cfg, 64, postfix=1)
        self.add_module(self.norm1_name, norm1)
        self.conv2 = build_conv_layer(conv_cfg, 64, 64, 3, stride=2, padding=1, bias=False)
        self.norm2_name, norm2 = build_norm_layer(norm_cfg, 64, postfix=2)
        self.add_module(self.norm2_name, norm2)
        self.relu = nn.ReLU(inplace=True)

        first = extra['stage1']
        block, width = BLOCKS[first['block']], first['num_channels'][0]
        self.layer1 = _stage(block, 64, width, first['num_blocks'][0], self.settings)
        channels = [width * block.expansion]
        for index, name in enumerate(STAGES[1:], 1):
            stage = extra[name]
            block = BLOCKS[stage['block']]
            wanted = [width * block.expansion for width in stage['num_channels']]
            self.add_module(f'transition{index}', self._transition(channels, wanted))
            self.add_module(name, self._modules_of(stage, block, wanted, multiscale_output or name != 'stage4'))
            channels = wanted

    def _transition(self, before: Sequence[int], after: Sequence[int]) -> ModuleList:
        """From the branches of a stage to those of the next."""
        layers: list[nn.Module | None] = []
        for index, target in enumerate(after):
            if index >= len(before):
                steps = index + 1 - len(before)
                layers.append(
                    Sequential(
                        *[
                            _down(before[-1], target if step == steps - 1 else before[-1], True, self.settings)
                            for step in range(steps)
                        ]
                    )
                )
            elif before[index] == target:
                layers.append(None)
            else:
                layers.append(
                    Sequential(
                        build_conv_layer(self.settings.conv_cfg, before[index], target, 3, padding=1, bias=False),
                        build_norm_layer(self.settings.norm_cfg, target)[1],
                        nn.ReLU(inplace=True),
                    )
                )
        return ModuleList(layers)

    def _modules_of(self, stage: Cfg, block: type[ResidualBlock], channels: Sequence[int], all_out: bool) -> Sequential:
        last = stage['num_modules'] - 1
        return Sequential(
            *[
                HRModule(
                    block,
                    stage['num_blocks'],
                    channels,
                    stage['num_channels'],
                    len(channels) if all_out or index < last else 1,
                    self.settings,
                )
                for index in range(stage['num_modules'])
            ]
        )

    @property
    def norm1(self) -> nn.Module:
        """The first norm of the stem."""
        return getattr(self, self.norm1_name)

    @property
    def norm2(self) -> nn.Module:
        """The second norm of the stem."""
        return getattr(self, self.norm2_name)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (B, C, H, W) -> the branches of the last stage, (B, C_i, H / 4, W / 4) and so on."""
        x = self.relu(self.norm1(self.conv1(x)))
        x = self.relu(self.norm2(self.conv2(x)))
        branches = [self.layer1(x)]
        for index, name in enumerate(STAGES[1:], 1):
            transition = getattr(self, f'transition{index}')
            branches = [_enter(layer, branches, number) for number, layer in enumerate(transition)]
            branches = getattr(self, name)(branches)
        return tuple(branches)

    def train(self, mode: bool = True) -> HRNet:
        super().train(mode)
        if mode and self.norm_eval:
            freeze_batch_norm(self)
        return self


def _enter(layer: nn.Module | None, branches: Sequence[Tensor], number: int) -> Tensor:
    """The input of a branch: its own predecessor, or for a new one the coarsest."""
    source = branches[min(number, len(branches) - 1)]
    return source if layer is None else layer(source)


def _check_extra(extra: Cfg) -> None:
    for name in STAGES:
        if name not in extra:
            raise ValueError(f'HRNet: extra has {list(STAGES)}, got {list(extra)}')
        stage = extra[name]
        lacking = [key for key in STAGE_KEYS if key not in stage]
        if lacking:
            raise ValueError(f'HRNet: extra.{name} lacks {lacking}')
        if stage['block'] not in BLOCKS:
            raise ValueError(f'HRNet: extra.{name}.block is one of {list(BLOCKS)}, got {stage["block"]!r}')
        for key in ('num_blocks', 'num_channels'):
            if len(stage[key]) != stage['num_branches']:
                raise ValueError(
                    f'HRNet: extra.{name}.{key} has one value for each of the {stage["num_branches"]} '
                    f'branches, got {stage[key]}'
                )
