"""Deformable convolutions that predict their own offsets: 'DCN' and 'DCNv2'."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.layers.conv import Size, pair
from mmkit.ops import deform_conv2d
from mmkit.registry import CONV_LAYERS


class _DeformConv(nn.Module):
    """Weights of a deformable convolution, and the plain one that predicts `maps` values per kernel position."""

    maps: int

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size,
        padding: Size,
        dilation: Size,
        groups: int,
        deform_groups: int,
        bias: bool,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride = pair(kernel_size), pair(stride)
        self.padding, self.dilation = pair(padding), pair(dilation)
        self.groups, self.deform_groups = groups, deform_groups
        self.transposed, self.output_padding = False, (0, 0)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *self.kernel_size))
        self.register_parameter('bias', nn.Parameter(torch.empty(out_channels)) if bias else None)
        positions = deform_groups * self.kernel_size[0] * self.kernel_size[1]
        self.conv_offset = nn.Conv2d(
            in_channels, self.maps * positions, self.kernel_size, self.stride, self.padding, self.dilation
        )
        self.init_weights()

    def init_weights(self) -> None:
        """Uniform weights; offsets start at zero, so that the layer starts as a plain convolution."""
        reach = 1 / math.sqrt(self.in_channels * self.kernel_size[0] * self.kernel_size[1])
        nn.init.uniform_(self.weight, -reach, reach)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        nn.init.zeros_(self.conv_offset.weight)
        nn.init.zeros_(self.conv_offset.bias)

    def extra_repr(self) -> str:
        return (
            f'{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, '
            f'padding={self.padding}, deform_groups={self.deform_groups}'
        )


@CONV_LAYERS.register_module(name='DCN')
class DeformConv2dPack(_DeformConv):
    """Deformable convolution (arXiv:1703.06211).

    Args: those of nn.Conv2d (`bias` must be False), and
        deform_groups: groups of input channels, each with its own offsets.
        im2col_step: images handled at a time by mmcv's kernel; changes no value, torchvision's kernel chooses itself.
    """

    maps = 2

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        deform_groups: int = 1,
        bias: bool = False,
        im2col_step: int = 32,
    ) -> None:
        if bias:
            raise ValueError("DCN has no bias: got bias=True; use 'DCNv2', or a norm layer behind it")
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, deform_groups, bias)

    def forward(self, x: Tensor) -> Tensor:
        return deform_conv2d(x, self.conv_offset(x), self.weight, self.bias, self.stride, self.padding, self.dilation)


@CONV_LAYERS.register_module(name='DCNv2')
class ModulatedDeformConv2dPack(_DeformConv):
    """Deformable convolution with a weight for every position (arXiv:1811.11168).

    Args: those of nn.Conv2d, and
        deform_groups: groups of input channels, each with its own offsets.
    """

    maps = 3

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        deform_groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, deform_groups, bias)

    def forward(self, x: Tensor) -> Tensor:
        first, second, mask = self.conv_offset(x).chunk(3, dim=1)
        offset = torch.cat([first, second], 1)
        return deform_conv2d(
            x, offset, self.weight, self.bias, self.stride, self.padding, self.dilation, mask.sigmoid()
        )


def adopt_older_offsets(module: nn.Module, state_dict: dict[str, Any], prefix: str) -> None:
    """Rename, in a state dict for `module`, the offsets that older checkpoints keep beside a deformable convolution.

    To be called by the module that holds it: 'conv2_offset.weight' becomes 'conv2.conv_offset.weight'.
    """
    for child, layer in module.named_children():
        if isinstance(layer, _DeformConv):
            for name in ('weight', 'bias'):
                older, newer = f'{prefix}{child}_offset.{name}', f'{prefix}{child}.conv_offset.{name}'
                if older in state_dict and newer not in state_dict:
                    state_dict[newer] = state_dict.pop(older)
