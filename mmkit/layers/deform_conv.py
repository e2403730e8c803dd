"""Deformable convolutions: 'DCN' and 'DCNv2', which predict their own offsets, and one that is given them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.errors import InvalidValueError
from mmkit.layers.init import constant_init
from mmkit.ops import Size, deform_conv2d, pair
from mmkit.registry import CONV_LAYERS


class DeformConv(nn.Module):
    """Weights of a deformable convolution, and the plain one that predicts `maps` values per kernel position.

    Args: those of nn.Conv2d, and
        deform_groups: groups of input channels, each with its own offsets.
        deformable_groups: older spelling of it.
    """

    is_deform_conv = True  # parameters of the offsets have a learning rate of their own, see paramwise_cfg
    maps: int
    bias: nn.Parameter | None

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
        deformable_groups: int | None = None,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride = pair(kernel_size), pair(stride)
        self.padding, self.dilation = pair(padding), pair(dilation)
        self.groups = groups
        self.deform_groups = deform_groups if deformable_groups is None else deformable_groups
        self.transposed, self.output_padding = False, (0, 0)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *self.kernel_size))
        self.register_parameter('bias', nn.Parameter(torch.empty(out_channels)) if bias else None)
        self.conv_offset = nn.Conv2d(
            in_channels,
            self.maps * self.deform_groups * math.prod(self.kernel_size),
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
        )
        self.init_weights()

    def init_weights(self) -> None:
        """Uniform weights; offsets start at zero, so that the layer starts as a plain convolution."""
        bound = 1 / math.sqrt(self.in_channels * math.prod(self.kernel_size))
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        constant_init(self.conv_offset, 0)

    def convolve(self, x: Tensor, offset: Tensor, mask: Tensor | None = None) -> Tensor:
        """`deform_conv2d` with the weights of this layer."""
        return deform_conv2d(
            x,
            offset,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            mask=mask,
        )

    def extra_repr(self) -> str:
        return (
            f'{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, '
            f'padding={self.padding}, deform_groups={self.deform_groups}'
        )


@CONV_LAYERS.register_module(name='DCN')
class DeformConv2dPack(DeformConv):
    """Deformable convolution (arXiv:1703.06211).

    Args: those of DeformConv (`bias` must be False), and
        im2col_step: images per step of mmcv's kernel; has no effect, torchvision's kernel chooses by itself.
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
        deformable_groups: int | None = None,
    ) -> None:
        if bias:
            raise InvalidValueError("DCN has no bias: use 'DCNv2', or a norm layer after it", key='bias')
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            deform_groups=deform_groups,
            bias=False,
            deformable_groups=deformable_groups,
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.convolve(x, self.conv_offset(x))


@CONV_LAYERS.register_module(name='DCNv2')
class ModulatedDeformConv2dPack(DeformConv):
    """Deformable convolution with a weight for every sampled position (arXiv:1811.11168); arguments of DeformConv."""

    maps = 3

    def forward(self, x: Tensor) -> Tensor:
        first, second, mask = self.conv_offset(x).chunk(3, dim=1)
        return self.convolve(x, torch.cat([first, second], 1), mask.sigmoid())


class DeformConv2d(nn.Module):
    """Deformable convolution whose offsets a head works out; no bias (arXiv:1703.06211).

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups: as of nn.Conv2d.
        deform_groups: groups of input channels, each with its own offsets.
    """

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
    ) -> None:
        super().__init__()
        self.stride, self.padding, self.dilation = pair(stride), pair(padding), pair(dilation)
        self.deform_groups = deform_groups
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *pair(kernel_size)))
        bound = 1 / math.sqrt(in_channels * math.prod(pair(kernel_size)))
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: Tensor, offset: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H', W').

        Args:
            x: the features.
            offset: (B, deform_groups * kh * kw * 2, H', W'), y before x for each position of the kernel, in pixels.
        """
        return deform_conv2d(
            x, offset, self.weight, None, stride=self.stride, padding=self.padding, dilation=self.dilation
        )


def adopt_older_offsets(module: nn.Module, state_dict: dict[str, Any], prefix: str) -> None:
    """Rename, in a state dict for `module`, the offsets that older checkpoints keep beside a deformable convolution.

    To be called by the module that holds it: 'conv2_offset.weight' becomes 'conv2.conv_offset.weight'.
    """
    for child, layer in module.named_children():
        if isinstance(layer, DeformConv):
            for name in ('weight', 'bias'):
                older, newer = f'{prefix}{child}_offset.{name}', f'{prefix}{child}.conv_offset.{name}'
                if older in state_dict and newer not in state_dict:
                    state_dict[newer] = state_dict.pop(older)
