"""Linear layers by type, the normalised ones of long-tailed recognition, and a learnable factor."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Unpack

from mmkit.layers.conv import ConvOptions, Size2d
from mmkit.layers.init import normal_init
from mmkit.registry import CONV_LAYERS, LINEAR_LAYERS, Cfg, build_from_cfg

LINEAR_LAYERS.register_module('Linear', module=nn.Linear)


@LINEAR_LAYERS.register_module()
class NormedLinear(nn.Linear):
    """Linear layer on normalised inputs and weights: scaled cosine similarities.

    Args: those of nn.Linear, and
        tempearture: factor of the normalised input (spelt as in mmdetection).
        power: exponent of the norms divided by.
        eps: added to the norms.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        tempearture: float = 20,
        power: float = 1.0,
        eps: float = 1e-6,
    ) -> None:
        super().__init__(in_features, out_features, bias)
        self.tempearture, self.power, self.eps = tempearture, power, eps
        self.init_weights()

    def init_weights(self) -> None:
        normal_init(self, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight / (self.weight.norm(dim=1, keepdim=True).pow(self.power) + self.eps)
        x = x / (x.norm(dim=1, keepdim=True).pow(self.power) + self.eps) * self.tempearture
        return F.linear(x, weight, self.bias)


@CONV_LAYERS.register_module()
class NormedConv2d(nn.Conv2d):
    """Convolution on normalised inputs and weights.

    Args: those of nn.Conv2d and of NormedLinear, and
        norm_over_kernel: normalise whole filters instead of each kernel position by itself.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size2d,
        *,
        tempearture: float = 20,
        power: float = 1.0,
        eps: float = 1e-6,
        norm_over_kernel: bool = False,
        **options: Unpack[ConvOptions],
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, **options)
        self.tempearture, self.power, self.eps, self.norm_over_kernel = tempearture, power, eps, norm_over_kernel

    def forward(self, x: Tensor) -> Tensor:
        if self.norm_over_kernel:
            norm = self.weight.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        else:
            norm = self.weight.norm(dim=1, keepdim=True)
        weight = self.weight / (norm.pow(self.power) + self.eps)
        x = x / (x.norm(dim=1, keepdim=True).pow(self.power) + self.eps) * self.tempearture
        out: Tensor = self._conv_forward(x, weight, self.bias)
        return out


class Scale(nn.Module):
    """Multiplication by a learnable number that starts at `scale`."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale, dtype=torch.float))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


def build_linear_layer(cfg: Cfg | None, in_features: int, out_features: int, bias: bool = True) -> nn.Module:
    """Build the linear layer of a config (None is nn.Linear); `bias` is the default for configs without it."""
    arguments = {'bias': bias, **(cfg or dict(type='Linear')), 'in_features': in_features, 'out_features': out_features}
    layer: nn.Module = build_from_cfg(arguments, LINEAR_LAYERS)
    return layer
