"""RepVGG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from torch import Tensor, nn
from typing_extensions import Self

from mmkit.errors import InvalidValueError
from mmkit.layers import BaseModule, InitCfg, Sequential, freeze, freeze_batch_norm
from mmkit.models.backbones.csp_backbone import SPPBottleneck
from mmkit.models.backbones.repvgg_block import BN, RELU, RepVGGBlock
from mmkit.registry import BACKBONES, Cfg

KAIMING_AND_ONES: Sequence[Cfg] = (
    dict(type='Kaiming', layer=['Conv2d']),
    dict(type='Constant', val=1, layer=['_BatchNorm']),
)
ARCH_KEYS = ('num_blocks', 'width_factor', 'group_layer_map', 'se_cfg')


def _arch(blocks: Sequence[int], widths: Sequence[float], groups: int = 1, **more: Any) -> dict[str, Any]:
    """An entry of `arch_settings`; with groups, every second block from the second to the 26th has them."""
    group_layer_map = dict.fromkeys(range(2, 27, 2), groups) if groups > 1 else None
    return dict(num_blocks=blocks, width_factor=widths, group_layer_map=group_layer_map, **{'se_cfg': None, **more})


@BACKBONES.register_module()
class RepVGG(BaseModule):
    """Three branches per block in training, plain 3 x 3 convolutions for inference (arXiv:2101.03697).

    A checkpoint of training loads into a deployed model too: its branches are merged.

    Args:
        arch: a name such as 'A0', or a dict of `num_blocks`, `width_factor` (of `base_channels * 2**stage`),
            `group_layer_map` (groups of blocks, counted from 1 over all stages, or None), `se_cfg` (arguments of
            SELayer, or None) and, optionally, `stem_channels`.
        in_channels: channels of the image.
        base_channels: channels of the first stage, before its factor.
        out_indices: stages whose output is returned, from 0.
        strides, dilations: one per stage.
        frozen_stages: the stem (0) and the stages up to this one are not trained; -1 for none.
        conv_cfg, norm_cfg, act_cfg: kinds of layer.
        with_cp: recompute activations in the backward pass instead of keeping them.
        deploy: build the form for inference, which cannot be trained.
        norm_eval: keep batch norms in eval mode while training.
        add_ppf: pool over windows of 5, 9 and 13 after the last stage.
        init_cfg: initial weights.
    """

    arch_settings: ClassVar[dict[str, dict[str, Any]]] = {
        'A0': _arch((2, 4, 14, 1), (0.75, 0.75, 0.75, 2.5)),
        'A1': _arch((2, 4, 14, 1), (1, 1, 1, 2.5)),
        'A2': _arch((2, 4, 14, 1), (1.5, 1.5, 1.5, 2.75)),
        'B0': _arch((4, 6, 16, 1), (1, 1, 1, 2.5)),
        'B1': _arch((4, 6, 16, 1), (2, 2, 2, 4)),
        'B1g2': _arch((4, 6, 16, 1), (2, 2, 2, 4), 2),
        'B1g4': _arch((4, 6, 16, 1), (2, 2, 2, 4), 4),
        'B2': _arch((4, 6, 16, 1), (2.5, 2.5, 2.5, 5)),
        'B2g2': _arch((4, 6, 16, 1), (2.5, 2.5, 2.5, 5), 2),
        'B2g4': _arch((4, 6, 16, 1), (2.5, 2.5, 2.5, 5), 4),
        'B3': _arch((4, 6, 16, 1), (3, 3, 3, 5)),
        'B3g2': _arch((4, 6, 16, 1), (3, 3, 3, 5), 2),
        'B3g4': _arch((4, 6, 16, 1), (3, 3, 3, 5), 4),
        'D2se': _arch((8, 14, 24, 1), (2.5, 2.5, 2.5, 5), se_cfg=dict(ratio=16, divisor=1)),
        'yolox-pai-small': _arch((3, 5, 7, 3), (1, 1, 1, 1), stem_channels=32),
    }

    def __init__(
        self,
        arch: str | Cfg,
        in_channels: int = 3,
        base_channels: int = 64,
        out_indices: Sequence[int] = (3,),
        strides: Sequence[int] = (2, 2, 2, 2),
        dilations: Sequence[int] = (1, 1, 1, 1),
        frozen_stages: int = -1,
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg = BN,
        act_cfg: Cfg = RELU,
        with_cp: bool = False,
        deploy: bool = False,
        norm_eval: bool = False,
        add_ppf: bool = False,
        init_cfg: InitCfg = KAIMING_AND_ONES,
    ) -> None:
        super().__init__(init_cfg)
        self.arch = self._settings(arch)
        num_blocks, factors = self.arch['num_blocks'], self.arch['width_factor']
        self.out_indices, self.frozen_stages = tuple(out_indices), frozen_stages
        self._check(len(num_blocks), strides, dilations)
        self.deploy, self.norm_eval = deploy, norm_eval
        block = partial(
            RepVGGBlock,
            se_cfg=self.arch['se_cfg'],
            with_cp=with_cp,
            conv_cfg=conv_cfg,
            norm_cfg=norm_cfg,
            act_cfg=act_cfg,
            deploy=deploy,
        )
        channels = self.arch.get('stem_channels') or min(64, int(base_channels * factors[0]))
        self.stem = block(in_channels, channels, stride=2)
        self.stages: list[str] = []
        groups = self.arch['group_layer_map'] or {}
        for stage, count in enumerate(num_blocks):
            target = int(base_channels * 2**stage * factors[stage])
            blocks = []
            for index in range(count):
                number = sum(num_blocks[:stage]) + index + 1
                blocks.append(
                    block(
                        channels,
                        target,
                        stride=1 if index else strides[stage],
                        dilation=dilations[stage],
                        groups=groups.get(number, 1),
                    )
                )
                channels = target
            self.stages.append(f'stage_{stage + 1}')
            self.add_module(self.stages[-1], Sequential(*blocks))
        self.ppf: nn.Module = nn.Identity()
        if add_ppf:  # pooling 5 x 5 windows once, twice and three times, as it is published, is the same
            self.ppf = SPPBottleneck(channels, channels, (5, 9, 13), norm_cfg=norm_cfg, act_cfg=act_cfg)
        self._freeze_stages()
        if deploy:
            self.eval()

    @classmethod
    def _settings(cls, arch: str | Cfg) -> Cfg:
        if isinstance(arch, str):
            if arch not in cls.arch_settings:
                raise InvalidValueError(
                    f'RepVGG: arch is one of {list(cls.arch_settings)} or a dict, got {arch!r}', key='arch'
                )
            return cls.arch_settings[arch]
        if not isinstance(arch, Mapping) or set(arch) - {'stem_channels'} != set(ARCH_KEYS):
            raise InvalidValueError(
                f"RepVGG: arch is a name or a dict of {list(ARCH_KEYS)} and, optionally, 'stem_channels', got {arch!r}",
                key='arch',
            )
        num_blocks, groups = arch['num_blocks'], arch['group_layer_map'] or {}
        if len(arch['width_factor']) != len(num_blocks):
            raise InvalidValueError(
                f'RepVGG: num_blocks and width_factor of arch have one value per stage, got {arch!r}', key='arch'
            )
        if not set(groups) <= set(range(1, sum(num_blocks) + 1)):
            raise InvalidValueError(
                f'RepVGG: group_layer_map counts blocks from 1 to {sum(num_blocks)}, got {groups!r}', key='arch'
            )
        return arch

    def _check(self, num_stages: int, strides: Sequence[int], dilations: Sequence[int]) -> None:
        for key, values in (('strides', strides), ('dilations', dilations)):
            if len(values) != num_stages:
                raise InvalidValueError(f'{key} has one value for each of the {num_stages} stages, got {values!r}', key)
        if not set(self.out_indices) <= set(range(num_stages)):
            raise InvalidValueError(
                f'out_indices are from 0 to {num_stages - 1}, got {self.out_indices!r}', key='out_indices'
            )
        if self.frozen_stages not in range(-1, num_stages + 1):
            raise InvalidValueError(
                f'frozen_stages is from -1 to {num_stages}, got {self.frozen_stages!r}', key='frozen_stages'
            )

    def _freeze_stages(self) -> None:
        if self.frozen_stages >= 0:
            freeze(self.stem)
        for name in self.stages[: max(self.frozen_stages, 0)]:
            freeze(self.get_submodule(name))

    def switch_to_deploy(self) -> None:
        """Merge the branches of every block into one convolution, for inference only; a second call changes nothing."""
        for module in self.modules():
            if isinstance(module, RepVGGBlock):
                module.switch_to_deploy()
        self.deploy = True
        self.eval()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (B, C, H, W) -> the outputs of `out_indices`, (B, C_i, H / 4, W / 4) and so on.

        Raises:
            InvalidValueError: in training mode, if it is deployed.
        """
        if self.deploy and self.training:
            raise InvalidValueError(
                'RepVGG is deployed: its branches and norms are merged, and that form is for inference. Train it with '
                'deploy=False and switch afterwards; for inference call eval() first',
                key='deploy',
            )
        x = self.stem(x)
        outs = []
        for stage, name in enumerate(self.stages):
            x = self.get_submodule(name)(x)
            if name == self.stages[-1]:
                x = self.ppf(x)
            if stage in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            freeze_batch_norm(self)
        return self
