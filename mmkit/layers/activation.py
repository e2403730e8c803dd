"""Activations by the `type` of an `act_cfg`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmkit.errors import InvalidValueError
from mmkit.registry import ACTIVATION_LAYERS, Cfg, build_from_cfg, located

# Activations that can overwrite their input.
_IN_PLACE = (nn.ReLU, nn.LeakyReLU, nn.RReLU, nn.ReLU6, nn.ELU, nn.SiLU, nn.Hardswish)

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
    """(x + bias) / divisor, clamped to [min_value, max_value]."""

    def __init__(self, bias: float = 3.0, divisor: float = 6.0, min_value: float = 0.0, max_value: float = 1.0) -> None:
        super().__init__()
        if divisor == 0:
            raise InvalidValueError('HSigmoid: divisor must not be 0', key='divisor')
        self.bias, self.divisor, self.min_value, self.max_value = bias, divisor, min_value, max_value

    def forward(self, x: Tensor) -> Tensor:
        return ((x + self.bias) / self.divisor).clamp(self.min_value, self.max_value)


@ACTIVATION_LAYERS.register_module(name=['Clamp', 'Clip'])
class Clamp(nn.Module):
    """x clamped to [min, max]."""

    def __init__(self, min: float = -1.0, max: float = 1.0) -> None:
        super().__init__()
        self.min, self.max = min, max

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(self.min, self.max)


def build_activation_layer(cfg: Cfg, inplace: bool | None = None) -> nn.Module:
    """Build the activation of an `act_cfg`; `inplace`, when given, is the default for those that can act in place."""
    with located(cfg):
        kind = cfg['type']
        layer_class = ACTIVATION_LAYERS.get(kind) if isinstance(kind, str) else kind
    can_act_in_place = isinstance(layer_class, type) and issubclass(layer_class, _IN_PLACE)
    defaults = dict(inplace=inplace) if inplace is not None and can_act_in_place else {}
    layer: nn.Module = build_from_cfg(cfg, ACTIVATION_LAYERS, defaults)
    return layer
