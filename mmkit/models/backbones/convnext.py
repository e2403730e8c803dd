"""ConvNeXt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from typing_extensions import Self

from mmkit.errors import InvalidValueError
from mmkit.layers import BaseModule, DropPath, InitCfg, Sequential, build_activation_layer, build_norm_layer, freeze
from mmkit.registry import BACKBONES, Cfg

LN2D = dict(type='LN2d', eps=1e-6)
WEIGHTS = [
    dict(type='TruncNormal', layer=['Conv2d', 'Linear'], std=0.02, bias=0.0),
    dict(type='Constant', layer=['LayerNorm'], val=1.0, bias=0.0),
]


class ConvNeXtBlock(nn.Module):
    """A 7 x 7 depthwise convolution, and a perceptron of two layers at each cell, added to the input.

    Args:
        channels: of the input and the output.
        norm_cfg, act_cfg: kinds of layer.
        linear_pw_conv: the perceptron has `nn.Linear` layers instead of 1 x 1 convolutions.
        drop_path_rate: probability to leave the block out in training.
        layer_scale_init_value: initial factor on each channel before the addition; 0: none.
        with_cp: recompute activations in the backward pass instead of keeping them.
    """

    def __init__(
        self,
        channels: int,
        norm_cfg: Cfg,
        act_cfg: Cfg,
        linear_pw_conv: bool = True,
        drop_path_rate: float = 0.0,
        layer_scale_init_value: float = 1e-6,
        with_cp: bool = False,
    ) -> None:
        super().__init__()
        self.with_cp, self.linear_pw_conv = with_cp, linear_pw_conv
        self.depthwise_conv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = build_norm_layer(norm_cfg, channels)[1]
        widths = channels, 4 * channels
        self.pointwise_conv1 = nn.Linear(*widths) if linear_pw_conv else nn.Conv2d(*widths, 1)
        self.act = build_activation_layer(act_cfg)
        self.pointwise_conv2 = nn.Linear(*widths[::-1]) if linear_pw_conv else nn.Conv2d(*widths[::-1], 1)
        self.gamma: nn.Parameter | None = None
        if layer_scale_init_value > 0:
            self.gamma = nn.Parameter(layer_scale_init_value * torch.ones(channels))
        self.drop_path = DropPath(drop_path_rate)

    def _forward(self, x: Tensor) -> Tensor:
        out = self.norm(self.depthwise_conv(x))
        if self.linear_pw_conv:
            out = out.permute(0, 2, 3, 1)  # (B, H, W, C)
        out = self.pointwise_conv2(self.act(self.pointwise_conv1(out)))
        if self.linear_pw_conv:
            out = out.permute(0, 3, 1, 2)
        if self.gamma is not None:
            out = out * self.gamma[:, None, None]
        summed: Tensor = x + self.drop_path(out)
        return summed

    def forward(self, x: Tensor) -> Tensor:
        if self.with_cp and x.requires_grad:
            recomputed: Tensor = checkpoint(self._forward, x, use_reentrant=False)
            return recomputed
        return self._forward(x)


@BACKBONES.register_module()
class ConvNeXt(BaseModule):
    """A network of convolutions with the outline of a Swin Transformer (arXiv:2201.03545).

    Args:
        arch: a name of `arch_settings`, or a dict of `depths` and `channels`, for each of four stages.
        in_channels: channels of the image.
        stem_patch_size: pixels of a cell of the first stage.
        norm_cfg, act_cfg: kinds of layer.
        linear_pw_conv, drop_path_rate, layer_scale_init_value, with_cp: see `ConvNeXtBlock`; the rate grows from 0 at
            the first block to this at the last.
        out_indices: stages whose outputs are returned, each through a norm layer; negative ones count from the end.
        frozen_stages: number of stages, from the first, that are not trained.
        gap_before_final_norm: return means (B, C_i) over all cells, as a classifier needs them.
        init_cfg: initial weights.

    Raises:
        InvalidValueError: for an unknown `arch`, or stages that don't exist.
    """

    arch_settings: ClassVar[dict[str, dict[str, list[int]]]] = {
        'tiny': dict(depths=[3, 3, 9, 3], channels=[96, 192, 384, 768]),
        'small': dict(depths=[3, 3, 27, 3], channels=[96, 192, 384, 768]),
        'base': dict(depths=[3, 3, 27, 3], channels=[128, 256, 512, 1024]),
        'large': dict(depths=[3, 3, 27, 3], channels=[192, 384, 768, 1536]),
        'xlarge': dict(depths=[3, 3, 27, 3], channels=[256, 512, 1024, 2048]),
    }

    def __init__(
        self,
        arch: str | Mapping[str, Sequence[int]] = 'tiny',
        *,
        in_channels: int = 3,
        stem_patch_size: int = 4,
        norm_cfg: Cfg = LN2D,
        act_cfg: Cfg = dict(type='GELU'),
        linear_pw_conv: bool = True,
        drop_path_rate: float = 0.0,
        layer_scale_init_value: float = 1e-6,
        out_indices: int | Sequence[int] = -1,
        frozen_stages: int = 0,
        gap_before_final_norm: bool = True,
        with_cp: bool = False,
        init_cfg: InitCfg = WEIGHTS,
    ) -> None:
        super().__init__(init_cfg)
        depths, channels = self._settings(arch)
        indices = [out_indices] if isinstance(out_indices, int) else out_indices
        self.out_indices = [index + len(depths) if index < 0 else index for index in indices]
        if not set(self.out_indices) <= set(range(len(depths))):
            raise InvalidValueError(
                f'ConvNeXt: out_indices are from 0 to {len(depths) - 1}, got {out_indices!r}', key='out_indices'
            )
        if frozen_stages not in range(len(depths) + 1):
            raise InvalidValueError(
                f'ConvNeXt: frozen_stages is from 0 to {len(depths)}, got {frozen_stages!r}', key='frozen_stages'
            )
        self.frozen_stages, self.gap_before_final_norm = frozen_stages, gap_before_final_norm
        last = max(sum(depths) - 1, 1)
        rates = (drop_path_rate * number / last for number in range(sum(depths)))
        self.downsample_layers, self.stages = nn.ModuleList(), nn.ModuleList()
        for index, (depth, width) in enumerate(zip(depths, channels, strict=True)):
            source, patch = (channels[index - 1], 2) if index else (in_channels, stem_patch_size)
            norm = build_norm_layer(norm_cfg, source if index else width)[1]
            conv = nn.Conv2d(source, width, patch, stride=patch)
            self.downsample_layers.append(Sequential(norm, conv) if index else Sequential(conv, norm))
            blocks = [
                ConvNeXtBlock(
                    width,
                    norm_cfg,
                    act_cfg,
                    linear_pw_conv=linear_pw_conv,
                    drop_path_rate=next(rates),
                    layer_scale_init_value=layer_scale_init_value,
                    with_cp=with_cp,
                )
                for _ in range(depth)
            ]
            self.stages.append(Sequential(*blocks))
            if index in self.out_indices:
                self.add_module(f'norm{index}', build_norm_layer(norm_cfg, width)[1])
        self._freeze_stages()

    def _settings(self, arch: str | Mapping[str, Sequence[int]]) -> tuple[Sequence[int], Sequence[int]]:
        if isinstance(arch, str) and arch not in self.arch_settings:
            raise InvalidValueError(f'ConvNeXt: arch is one of {list(self.arch_settings)}, got {arch!r}', key='arch')
        settings = self.arch_settings[arch] if isinstance(arch, str) else arch
        return settings['depths'], settings['channels']

    def _freeze_stages(self) -> None:
        for layers in (self.downsample_layers, self.stages):
            for stage in layers[: self.frozen_stages]:
                freeze(stage)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (B, 3, H, W) -> outputs of `out_indices`, (B, C_i, H / 2^(i + 2), W / 2^(i + 2)) or (B, C_i) each."""
        outs = []
        for index, (downsample, stage) in enumerate(zip(self.downsample_layers, self.stages, strict=True)):
            x = stage(downsample(x))
            if index in self.out_indices:
                norm = self.get_submodule(f'norm{index}')
                outs.append(norm(x.mean((2, 3), keepdim=True)).flatten(1) if self.gap_before_final_norm else norm(x))
        return tuple(outs)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self._freeze_stages()
        return self
