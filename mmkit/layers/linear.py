"""Linear layers by type, and the normalised ones of long-tailed recognition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.layers.conv import Size, pair
from mmkit.layers.init import normal_init
from mmkit.registry import CONV_LAYERS, LINEAR_LAYERS, build_from_cfg

LINEAR_LAYERS.register_module('Linear', module=nn.Linear)


@LINEAR_LAYERS.register_module()
class NormedLinear(nn.Linear):
    """Linear layer on the directions of input and weights only.

    Args: those of nn.Linear, and
        tempearture: factor of the normalised input (spelt as in mmdetection).
        power: of the norms divided by.
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
    """Convolution on the directions of input and weights only.

    Args: those of nn.Conv2d and of NormedLinear, and
        norm_over_kernel: take the norm of the whole filter instead of that at each kernel position.
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
        padding_mode: str = 'zeros',
        tempearture: float = 20,
        power: float = 1.0,
        eps: float = 1e-6,
        norm_over_kernel: bool = False,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            pair(kernel_size),
            pair(stride),
            pair(padding),
            pair(dilation),
            groups,
            bias,
            padding_mode,
        )
        self.tempearture, self.power, self.eps, self.norm_over_kernel = tempearture, power, eps, norm_over_kernel

    def forward(self, x: Tensor) -> Tensor:
        if self.norm_over_kernel:
            norm = self.weight.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        else:
            norm = self.weight.norm(dim=1, keepdim=True)
        weight = self.weight / (norm.pow(self.power) + self.eps)
        x = x / (x.norm(dim=1, keepdim=True).pow(self.power) + self.eps) * self.tempearture
        return self._conv_forward(x, weight, self.bias)


def build_linear_layer(
    cfg: Mapping[str, Any] | None, in_features: int, out_features: int, bias: bool = True
) -> nn.Module:
    """The linear layer `cfg` names; None is nn.Linear. `bias` is for when `cfg` does not say."""
    layer: nn.Module = build_from_cfg(
        {'bias': bias, **(cfg or dict(type='Linear')), 'in_features': in_features, 'out_features': out_features},
        LINEAR_LAYERS,
    )
    return layer
