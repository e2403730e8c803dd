"""Padding layers by type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from mmkit.registry import PADDING_LAYERS

PADDING_LAYERS.register_module('zero', module=nn.ZeroPad2d)
PADDING_LAYERS.register_module('reflect', module=nn.ReflectionPad2d)
PADDING_LAYERS.register_module('replicate', module=nn.ReplicationPad2d)


def build_padding_layer(cfg: Mapping[str, Any], padding: int | tuple[int, ...]) -> nn.Module:
    """The padding `cfg` names ('zero', 'reflect', 'replicate') of `padding` pixels (left, right, top, bottom)."""
    layer: nn.Module = PADDING_LAYERS.get(cfg['type'])(padding)
    return layer
