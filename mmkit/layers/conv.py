"""Convolutions and padding layers by the `type` of their config."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import TypedDict, Unpack

from mmkit.errors import InvalidTypeError
from mmkit.registry import CONV_LAYERS, PADDING_LAYERS, UPSAMPLE_LAYERS, Cfg, build_from_cfg, located

CONV2D = dict(type='Conv2d')
CONV_LAYERS.register_module('Conv1d', module=nn.Conv1d)
CONV_LAYERS.register_module(['Conv2d', 'Conv'], module=nn.Conv2d)
CONV_LAYERS.register_module('Conv3d', module=nn.Conv3d)
CONV_LAYERS.register_module('ConvTranspose2d', module=nn.ConvTranspose2d)
CONV_LAYERS.register_module('ConvTranspose3d', module=nn.ConvTranspose3d)
for _registry in (CONV_LAYERS, UPSAMPLE_LAYERS):
    _registry.register_module('deconv', module=nn.ConvTranspose2d)
    _registry.register_module('deconv3d', module=nn.ConvTranspose3d)
PADDING_LAYERS.register_module('zero', module=nn.ZeroPad2d)
PADDING_LAYERS.register_module('reflect', module=nn.ReflectionPad2d)
PADDING_LAYERS.register_module('replicate', module=nn.ReplicationPad2d)


Size2d = int | tuple[int, int]


class ConvOptions(TypedDict, total=False):
    """Keyword arguments of nn.Conv2d, beside the channels and the kernel size."""

    stride: Size2d
    padding: Size2d
    dilation: Size2d
    groups: int
    bias: bool
    padding_mode: Literal['zeros', 'reflect', 'replicate', 'circular']


def as_size(size: int | Sequence[int]) -> Size2d:
    """A size of a config as nn.Conv2d takes it: a list as a tuple."""
    return size if isinstance(size, int) else tuple(size)  # type: ignore[return-value]  # three values for Conv3d


def build_conv_layer(
    cfg: Cfg | None, in_channels: int, out_channels: int, kernel_size: Size2d, **options: Unpack[ConvOptions]
) -> nn.Module:
    """Build the convolution of a `conv_cfg` (None is Conv2d) from the given arguments and those of the config.

    Raises:
        InvalidTypeError: the config sets what its place in the network decides, such as `kernel_size`.
    """
    cfg = CONV2D if cfg is None else cfg
    twice = sorted(cfg.keys() & {'in_channels', 'out_channels', 'kernel_size', *options})
    if twice:
        with located(cfg):
            message = f'a convolution cannot set {", ".join(twice)} here: its place in the network decides'
            raise InvalidTypeError(message, key=twice[0])
    return build_from_cfg(cfg, CONV_LAYERS, options, positional=(in_channels, out_channels, kernel_size))


def build_padding_layer(cfg: Cfg, padding: int | tuple[int, ...]) -> nn.Module:
    """Build the padding ('zero', 'reflect' or 'replicate') of `padding` pixels, (left, right, top, bottom)."""
    return build_from_cfg(cfg, PADDING_LAYERS, positional=(padding,))


@CONV_LAYERS.register_module(name='ConvWS')
class ConvWS2d(nn.Conv2d):
    """Convolution whose filters are standardised to mean 0 and standard deviation 1 (arXiv:1903.10520).

    Args: those of nn.Conv2d, and
        eps: added to the standard deviation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size2d,
        *,
        eps: float = 1e-5,
        **options: Unpack[ConvOptions],
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, **options)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        flat = self.weight.flatten(1)
        centred = flat - flat.mean(1, keepdim=True)
        weight = centred / (centred.std(1, keepdim=True) + self.eps)
        out: Tensor = self._conv_forward(x, weight.view_as(self.weight), self.bias)
        return out


@CONV_LAYERS.register_module(name='ConvAWS')
class ConvAWS2d(nn.Conv2d):
    """Weight standardisation that keeps the mean and deviation of pretrained filters (arXiv:2006.02334).

    When loaded weights lack `weight_gamma` and `weight_beta`, these become the deviation and mean of the filters.

    Args: those of nn.Conv2d.
    """

    weight_gamma: Tensor
    weight_beta: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Size2d, **options: Unpack[ConvOptions]
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, **options)
        self.register_buffer('weight_gamma', torch.ones(self.out_channels, 1, 1, 1))
        self.register_buffer('weight_beta', torch.zeros(self.out_channels, 1, 1, 1))

    def _moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of every filter, (out_channels, 1, 1, 1) each."""
        flat = self.weight.flatten(1)
        shape = (-1, 1, 1, 1)
        return flat.mean(1).view(shape), (flat.var(1) + 1e-5).sqrt().view(shape)

    def forward(self, x: Tensor) -> Tensor:
        mean, std = self._moments()
        weight = self.weight_gamma * (self.weight - mean) / std + self.weight_beta
        out: Tensor = self._conv_forward(x, weight, self.bias)
        return out

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        if prefix + 'weight' in state_dict and prefix + 'weight_gamma' not in state_dict:
            with torch.no_grad():
                mean, std = self._moments()
                self.weight_gamma.copy_(std)
                self.weight_beta.copy_(mean)


@CONV_LAYERS.register_module()
class Conv2dAdaptivePadding(nn.Conv2d):
    """Convolution that pads, more at the bottom and right, to an output of ceil(size / stride).

    Args: those of nn.Conv2d; the layer chooses its padding, and the given `padding` has no effect.
    """

    def forward(self, x: Tensor) -> Tensor:
        pads: list[int] = []
        for axis in (1, 0):  # F.pad starts with the last dimension
            size, kernel, stride = x.shape[2 + axis], self.kernel_size[axis], self.stride[axis]
            extent = (math.ceil(size / stride) - 1) * stride + (kernel - 1) * self.dilation[axis] + 1
            total = max(extent - size, 0)
            pads += [total // 2, total - total // 2]
        return F.conv2d(
            F.pad(x, pads), self.weight, self.bias, stride=self.stride, dilation=self.dilation, groups=self.groups
        )
