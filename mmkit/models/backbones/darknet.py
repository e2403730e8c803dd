"""Darknet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor
from typing_extensions import Self, Unpack

from mmkit.errors import InvalidValueError
from mmkit.layers import BaseModule, ConvModule, InitCfg, LayerCfgs, Sequential, freeze, freeze_batch_norm
from mmkit.models.backbones.init_cfg import resolve_init_cfg
from mmkit.registry import BACKBONES, Cfg

BN = dict(type='BN', requires_grad=True)
LEAKY = dict(type='LeakyReLU', negative_slope=0.1)


class ResBlock(BaseModule):
    """A 1 x 1 convolution to half the channels and a 3 x 3 convolution back, added to the input."""

    def __init__(self, channels: int, **cfgs: Unpack[LayerCfgs]) -> None:
        super().__init__()
        self.conv1 = ConvModule(channels, channels // 2, 1, **cfgs)
        self.conv2 = ConvModule(channels // 2, channels, 3, padding=1, **cfgs)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv2(self.conv1(x))
        return out + x


@BACKBONES.register_module()
class Darknet(BaseModule):
    """The backbone of YOLOv3 (arXiv:1804.02767).

    Args:
        depth: 53.
        out_indices: outputs that are returned: 0 is the stem, 1 to 5 the stages.
        frozen_stages: number of parts, beginning with the stem, that are not trained; -1 and 0 for none.
        conv_cfg, norm_cfg, act_cfg: kinds of layer.
        norm_eval: keep batch norms in eval mode while training.
        pretrained: deprecated, use init_cfg.
        init_cfg: initial weights.
    """

    arch_settings: ClassVar[dict[int, tuple[int, ...]]] = {53: (1, 2, 8, 8, 4)}

    def __init__(
        self,
        depth: int = 53,
        out_indices: Sequence[int] = (3, 4, 5),
        frozen_stages: int = -1,
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg = BN,
        act_cfg: Cfg = LEAKY,
        norm_eval: bool = True,
        pretrained: str | None = None,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(resolve_init_cfg(pretrained, init_cfg))
        if depth not in self.arch_settings:
            raise InvalidValueError(f'Darknet: depth is one of {list(self.arch_settings)}, got {depth!r}', key='depth')
        self.out_indices, self.frozen_stages, self.norm_eval = tuple(out_indices), frozen_stages, norm_eval
        cfgs = LayerCfgs(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.conv1 = ConvModule(3, 32, 3, padding=1, **cfgs)
        self.cr_blocks = ['conv1']
        for stage, num_blocks in enumerate(self.arch_settings[depth]):
            channels = 64 * 2**stage
            layer = Sequential()
            layer.add_module('conv', ConvModule(channels // 2, channels, 3, stride=2, padding=1, **cfgs))
            for index in range(num_blocks):
                layer.add_module(f'res{index}', ResBlock(channels, **cfgs))
            self.cr_blocks.append(f'conv_res_block{stage + 1}')
            self.add_module(self.cr_blocks[-1], layer)
        if frozen_stages not in range(-1, len(self.cr_blocks) + 1):
            raise InvalidValueError(
                f'Darknet: frozen_stages is from -1 to {len(self.cr_blocks)}, got {frozen_stages!r}',
                key='frozen_stages',
            )
        self._freeze_stages()

    def _freeze_stages(self) -> None:
        for name in self.cr_blocks[: max(self.frozen_stages, 0)]:
            freeze(self.get_submodule(name))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (B, 3, H, W) -> the outputs of `out_indices`, half the size each, finest first."""
        outs = []
        for index, name in enumerate(self.cr_blocks):
            x = self.get_submodule(name)(x)
            if index in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            freeze_batch_norm(self)
        return self
