"""CSPDarknet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import Self, Unpack

from mmkit.errors import InvalidValueError
from mmkit.layers import (
    BaseModule,
    ConvModule,
    DepthwiseSeparableConvModule,
    InitCfg,
    LayerCfgs,
    Sequential,
    freeze,
    freeze_batch_norm,
)
from mmkit.layers.csp_layer import BN, SWISH, CSPLayer
from mmkit.registry import BACKBONES, Cfg

TORCH_DEFAULT = dict(
    type='Kaiming', layer='Conv2d', a=math.sqrt(5), distribution='uniform', mode='fan_in', nonlinearity='leaky_relu'
)


class Focus(nn.Module):
    """Space to depth: the pixels of 2 x 2 blocks become channels, followed by a convolution.

    Args:
        in_channels: channels of the input, before the rearrangement.
        out_channels, kernel_size: of the convolution.
        cfgs: kinds of layer.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, **cfgs: Unpack[LayerCfgs]) -> None:
        super().__init__()
        self.conv = ConvModule(in_channels * 4, out_channels, kernel_size, padding=(kernel_size - 1) // 2, **cfgs)

    def forward(self, x: Tensor) -> Tensor:
        quarters = [x[..., row::2, column::2] for column in (0, 1) for row in (0, 1)]
        x = self.conv(torch.cat(quarters, 1))
        return x


class SPPBottleneck(BaseModule):
    """Spatial pyramid pooling: max pooling with several windows, concatenated (arXiv:1406.4729).

    Args:
        in_channels, out_channels: of the block.
        kernel_sizes: of the windows, odd.
        cfgs: kinds of layer.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_sizes: Sequence[int], **cfgs: Unpack[LayerCfgs]
    ) -> None:
        super().__init__()
        half = in_channels // 2
        self.conv1 = ConvModule(in_channels, half, 1, **cfgs)
        self.poolings = nn.ModuleList([nn.MaxPool2d(size, stride=1, padding=size // 2) for size in kernel_sizes])
        self.conv2 = ConvModule(half * (len(kernel_sizes) + 1), out_channels, 1, **cfgs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        x = self.conv2(torch.cat([x, *(pool(x) for pool in self.poolings)], 1))
        return x


@BACKBONES.register_module()
class CSPDarknet(BaseModule):
    """The backbone of YOLOv5 and YOLOX (arXiv:2107.08430).

    Args:
        arch: 'P5' or 'P6'.
        deepen_factor, widen_factor: factors of the numbers of blocks and of channels.
        out_indices: outputs that are returned: 0 is the stem, then the stages.
        frozen_stages: the stem (0) and the stages up to this one are not trained; -1 for none.
        use_depthwise: make the 3 x 3 convolutions depthwise separable.
        arch_ovewrite: instead of `arch`, for every stage (in_channels, out_channels, blocks, add_identity, use_spp);
            spelt as in mmdetection.
        spp_kernal_sizes: windows of the pooling in the last stage; spelt as in mmdetection.
        conv_cfg, norm_cfg, act_cfg: kinds of layer.
        norm_eval: keep batch norms in eval mode while training.
        init_cfg: initial weights.
    """

    # in_channels, out_channels, blocks, add_identity, use_spp
    arch_settings: ClassVar[dict[str, list[tuple[int, int, int, bool, bool]]]] = {
        'P5': [
            (64, 128, 3, True, False),
            (128, 256, 9, True, False),
            (256, 512, 9, True, False),
            (512, 1024, 3, False, True),
        ],
        'P6': [
            (64, 128, 3, True, False),
            (128, 256, 9, True, False),
            (256, 512, 9, True, False),
            (512, 768, 3, True, False),
            (768, 1024, 3, False, True),
        ],
    }

    def __init__(
        self,
        arch: str = 'P5',
        deepen_factor: float = 1.0,
        widen_factor: float = 1.0,
        out_indices: Sequence[int] = (2, 3, 4),
        frozen_stages: int = -1,
        use_depthwise: bool = False,
        arch_ovewrite: Sequence[Sequence[Any]] | None = None,
        spp_kernal_sizes: Sequence[int] = (5, 9, 13),
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg = BN,
        act_cfg: Cfg = SWISH,
        norm_eval: bool = False,
        init_cfg: InitCfg = TORCH_DEFAULT,
    ) -> None:
        super().__init__(init_cfg)
        if arch_ovewrite is None and arch not in self.arch_settings:
            raise InvalidValueError(f'CSPDarknet: arch is one of {list(self.arch_settings)}, got {arch!r}', key='arch')
        stages = arch_ovewrite or self.arch_settings[arch]
        if not set(out_indices) <= set(range(len(stages) + 1)):
            raise InvalidValueError(
                f'CSPDarknet: out_indices are from 0 to {len(stages)}, got {out_indices!r}', key='out_indices'
            )
        if frozen_stages not in range(-1, len(stages) + 1):
            raise InvalidValueError(
                f'CSPDarknet: frozen_stages is from -1 to {len(stages)}, got {frozen_stages!r}', key='frozen_stages'
            )
        self.out_indices, self.frozen_stages, self.norm_eval = tuple(out_indices), frozen_stages, norm_eval
        cfgs = LayerCfgs(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        conv = DepthwiseSeparableConvModule if use_depthwise else ConvModule
        self.stem = Focus(3, int(stages[0][0] * widen_factor), 3, **cfgs)
        self.layers = ['stem']
        for source, target, num_blocks, add_identity, use_spp in stages:
            source, target = int(source * widen_factor), int(target * widen_factor)
            layers: list[nn.Module] = [conv(source, target, 3, stride=2, padding=1, **cfgs)]
            if use_spp:
                layers.append(SPPBottleneck(target, target, spp_kernal_sizes, **cfgs))
            layers.append(
                CSPLayer(
                    target,
                    target,
                    num_blocks=max(round(num_blocks * deepen_factor), 1),
                    add_identity=add_identity,
                    use_depthwise=use_depthwise,
                    **cfgs,
                )
            )
            self.layers.append(f'stage{len(self.layers)}')
            self.add_module(self.layers[-1], Sequential(*layers))
        self._freeze_stages()

    def _freeze_stages(self) -> None:
        for name in self.layers[: self.frozen_stages + 1]:
            freeze(self.get_submodule(name))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (B, 3, H, W) -> the outputs of `out_indices`, (B, C_i, H / 2^(i + 1), W / 2^(i + 1)) each."""
        outs = []
        for index, name in enumerate(self.layers):
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
