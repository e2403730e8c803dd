"""Shared parts of the backbones made of CSP layers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

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
from mmkit.layers.csp_layer import CSPLayer
from mmkit.registry import Cfg

Stage = tuple[int, int, int, bool, bool]
"""in_channels, out_channels, blocks, add_identity, use_spp"""

TORCH_DEFAULT = dict(
    type='Kaiming', layer='Conv2d', a=math.sqrt(5), distribution='uniform', mode='fan_in', nonlinearity='leaky_relu'
)


def usual_stages(num_blocks: int) -> dict[str, list[Stage]]:
    """Stages of the architectures 'P5' and 'P6', with so many blocks in those in the middle."""
    begin: list[Stage] = [
        (64, 128, 3, True, False),
        (128, 256, num_blocks, True, False),
        (256, 512, num_blocks, True, False),
    ]
    return {
        'P5': [*begin, (512, 1024, 3, False, True)],
        'P6': [*begin, (512, 768, 3, True, False), (768, 1024, 3, False, True)],
    }


def chosen_stages(
    settings: Mapping[str, Sequence[Stage]], arch: str, overwrite: Sequence[Sequence[Any]] | None, name: str
) -> Sequence[Sequence[Any]]:
    """The stages of the backbone called `name`: `overwrite`, or those of `arch`.

    Raises:
        InvalidValueError: for an unknown `arch`.
    """
    if overwrite is None and arch not in settings:
        raise InvalidValueError(f'{name}: arch is one of {list(settings)}, got {arch!r}', key='arch')
    return overwrite or settings[arch]


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


def build_stages(
    settings: Sequence[Sequence[Any]],
    *,
    deepen_factor: float,
    widen_factor: float,
    use_depthwise: bool,
    spp_kernel_sizes: Sequence[int],
    csp_cfg: Cfg,
    **cfgs: Unpack[LayerCfgs],
) -> list[nn.Module]:
    """Stages of a convolution with stride 2, in some of spatial pyramid pooling, and of a CSP layer.

    Args:
        settings: a `Stage` of each.
        deepen_factor, widen_factor: factors of the numbers of blocks and of channels.
        use_depthwise: make the 3 x 3 convolutions depthwise separable.
        spp_kernel_sizes: windows of the pooling.
        csp_cfg: further arguments of the CSP layers.
        cfgs: kinds of layer.
    """
    conv = DepthwiseSeparableConvModule if use_depthwise else ConvModule
    stages: list[nn.Module] = []
    for source, target, num_blocks, add_identity, use_spp in settings:
        source, target = int(source * widen_factor), int(target * widen_factor)
        csp = CSPLayer(
            target,
            target,
            num_blocks=max(round(num_blocks * deepen_factor), 1),
            add_identity=add_identity,
            use_depthwise=use_depthwise,
            **csp_cfg,
            **cfgs,
        )
        pooling = [SPPBottleneck(target, target, spp_kernel_sizes, **cfgs)] if use_spp else []
        stages.append(Sequential(conv(source, target, 3, stride=2, padding=1, **cfgs), *pooling, csp))
    return stages


class CSPBackbone(BaseModule):
    """A stem and the stages after it, called `stem`, `stage1`, ...

    Args:
        stem: halves height and width.
        stages: halve them again, each.
        out_indices: outputs that are returned: 0 is the stem, then the stages.
        frozen_stages: the stem (0) and the stages up to this one are not trained; -1 for none.
        norm_eval: keep batch norms in eval mode while training.
        init_cfg: initial weights.
    """

    def __init__(
        self,
        stem: nn.Module,
        stages: Sequence[nn.Module],
        out_indices: Sequence[int],
        frozen_stages: int,
        norm_eval: bool,
        init_cfg: InitCfg,
    ) -> None:
        super().__init__(init_cfg)
        name = type(self).__name__
        if not set(out_indices) <= set(range(len(stages) + 1)):
            raise InvalidValueError(
                f'{name}: out_indices are from 0 to {len(stages)}, got {out_indices!r}', key='out_indices'
            )
        if frozen_stages not in range(-1, len(stages) + 1):
            raise InvalidValueError(
                f'{name}: frozen_stages is from -1 to {len(stages)}, got {frozen_stages!r}', key='frozen_stages'
            )
        self.out_indices, self.frozen_stages, self.norm_eval = tuple(out_indices), frozen_stages, norm_eval
        self.layers = ['stem', *(f'stage{number}' for number in range(1, len(stages) + 1))]
        for layer, module in zip(self.layers, [stem, *stages], strict=True):
            self.add_module(layer, module)
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
