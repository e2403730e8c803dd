"""Convolutions by the `type` a `conv_cfg` names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.registry import CONV_LAYERS, UPSAMPLE_LAYERS

Size = int | Sequence[int]

CONV_LAYERS.register_module('Conv1d', module=nn.Conv1d)
CONV_LAYERS.register_module('Conv2d', module=nn.Conv2d)
CONV_LAYERS.register_module('Conv3d', module=nn.Conv3d)
CONV_LAYERS.register_module('Conv', module=nn.Conv2d)
CONV_LAYERS.register_module('ConvTranspose2d', module=nn.ConvTranspose2d)
CONV_LAYERS.register_module('ConvTranspose3d', module=nn.ConvTranspose3d)
for _registry in (CONV_LAYERS, UPSAMPLE_LAYERS):
    _registry.register_module('deconv', module=nn.ConvTranspose2d)
    _registry.register_module('deconv3d', module=nn.ConvTranspose3d)


def build_conv_layer(cfg: Mapping[str, Any] | None, *args: Any, **kwargs: Any) -> nn.Module:
    """The convolution `cfg` names (None is Conv2d), built from the given arguments and those in `cfg`.

    Raises:
        TypeError: `cfg` sets what its place in the network decides, such as `kernel_size`.
    """
    arguments = dict(cfg) if cfg is not None else dict(type='Conv2d')
    if 'type' not in arguments:
        raise KeyError(f"conv_cfg needs a 'type', got {arguments}")
    kind = arguments.pop('type')
    layer_class = CONV_LAYERS.get(kind) if isinstance(kind, str) else kind
    twice = sorted(arguments.keys() & kwargs.keys())
    if twice:
        raise TypeError(f'conv_cfg {dict(cfg or {})} cannot set {twice}: the place of the layer decides')
    layer: nn.Module = layer_class(*args, **arguments, **kwargs)
    return layer


def pair(size: Size) -> tuple[int, int]:
    """An int twice, or the two values of a sequence."""
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


@CONV_LAYERS.register_module(name='ConvWS')
class ConvWS2d(nn.Conv2d):
    """Convolution whose filters are standardised to mean 0 and deviation 1 (arXiv:1903.10520).

    Args: those of nn.Conv2d, and
        eps: added to the deviation.
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
        bias: bool = True,
        eps: float = 1e-5,
    ) -> None:
        super().__init__(
            in_channels, out_channels, pair(kernel_size), pair(stride), pair(padding), pair(dilation), groups, bias
        )
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        flat = self.weight.flatten(1)
        centred = flat - flat.mean(1, keepdim=True)
        weight = centred / (centred.std(1, keepdim=True) + self.eps)
        return self._conv_forward(x, weight.view_as(self.weight), self.bias)


@CONV_LAYERS.register_module(name='ConvAWS')
class ConvAWS2d(nn.Conv2d):
    """Weight standardisation that keeps the mean and deviation of pretrained filters (arXiv:2006.02334).

    When loaded weights lack `weight_gamma` and `weight_beta`, these become the deviation and mean of the filters.

    Args: those of nn.Conv2d.
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
        bias: bool = True,
    ) -> None:
        super().__init__(
            in_channels, out_channels, pair(kernel_size), pair(stride), pair(padding), pair(dilation), groups, bias
        )
        self.weight_gamma: Tensor
        self.weight_beta: Tensor
        self.register_buffer('weight_gamma', torch.ones(self.out_channels, 1, 1, 1))
        self.register_buffer('weight_beta', torch.zeros(self.out_channels, 1, 1, 1))

    def _moments(self) -> tuple[Tensor, Tensor]:
        flat = self.weight.flatten(1)
        shape = (-1, 1, 1, 1)
        return flat.mean(1).view(shape), (flat.var(1) + 1e-5).sqrt().view(shape)

    def forward(self, x: Tensor) -> Tensor:
        mean, std = self._moments()
        weight = self.weight_gamma * (self.weight - mean) / std + self.weight_beta
        return self._conv_forward(x, weight, self.bias)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        if prefix + 'weight' in state_dict and prefix + 'weight_gamma' not in state_dict:
            with torch.no_grad():
                mean, std = self._moments()
                self.weight_gamma.copy_(std)
                self.weight_beta.copy_(mean)


@CONV_LAYERS.register_module()
class Conv2dAdaptivePadding(nn.Conv2d):
    """Convolution that pads, more at the bottom and right, so that ceil(size / stride) values come out.

    Args: those of nn.Conv2d; `padding` is chosen by the layer and what is given has no effect.
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
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, pair(kernel_size), pair(stride), 0, pair(dilation), groups, bias)

    def forward(self, x: Tensor) -> Tensor:
        pads: list[int] = []
        for axis in (1, 0):  # F.pad starts with the last dimension
            size, kernel, stride = x.shape[2 + axis], self.kernel_size[axis], self.stride[axis]
            reach = (math.ceil(size / stride) - 1) * stride + (kernel - 1) * self.dilation[axis] + 1
            total = max(reach - size, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(F.pad(x, pads))
