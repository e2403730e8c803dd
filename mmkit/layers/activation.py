"""Activations by the `type` an `act_cfg` names."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.registry import ACTIVATION_LAYERS, build_from_cfg

for _layer in (nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ReLU6, nn.ELU, nn.Sigmoid, nn.Tanh, nn.GELU, nn.SiLU):
    ACTIVATION_LAYERS.register_module(_layer.__name__, module=_layer)
ACTIVATION_LAYERS.register_module('HSwish', module=nn.Hardswish)


@ACTIVATION_LAYERS.register_module()
class Swish(nn.Module):
    """x * sigmoid(x) (arXiv:1710.05941)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)


@ACTIVATION_LAYERS.register_module()
class HSigmoid(nn.Module):
    """(x + bias) / divisor, kept within [min_value, max_value]."""

    def __init__(self, bias: float = 3.0, divisor: float = 6.0, min_value: float = 0.0, max_value: float = 1.0) -> None:
        super().__init__()
        if divisor == 0:
            raise ValueError('HSigmoid: divisor must not be 0')
        self.bias, self.divisor, self.min_value, self.max_value = bias, divisor, min_value, max_value

    def forward(self, x: Tensor) -> Tensor:
        return ((x + self.bias) / self.divisor).clamp(self.min_value, self.max_value)


class Clamp(nn.Module):
    """x kept within [min, max]."""

    def __init__(self, min: float = -1.0, max: float = 1.0) -> None:
        super().__init__()
        self.min, self.max = min, max

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(self.min, self.max)


ACTIVATION_LAYERS.register_module('Clamp', module=Clamp)
ACTIVATION_LAYERS.register_module('Clip', module=Clamp)


def build_activation_layer(cfg: Mapping[str, Any], inplace: bool | None = None) -> nn.Module:
    """The activation `cfg` names; `inplace`, when given, is the default for those that can act in place."""
    kind = cfg['type']
    layer_class = ACTIVATION_LAYERS.get(kind) if isinstance(kind, str) else kind
    defaults = {}
    if inplace is not None and 'inplace' in inspect.signature(layer_class).parameters:
        defaults['inplace'] = inplace
    layer: nn.Module = build_from_cfg(cfg, ACTIVATION_LAYERS, defaults)
    return layer
