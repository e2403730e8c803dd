"""Plugins: blocks that a backbone inserts at the positions of its config."""

from __future__ import annotations

import re
from typing import Any

from torch import nn

from mmkit.errors import UnknownNameError
from mmkit.registry import PLUGIN_LAYERS, Cfg


def plugin_abbreviation(plugin_class: type) -> str:
    """The name of such a plugin in its module, as in mmcv: its `_abbr_`, or its class name in snake case."""
    own = getattr(plugin_class, '_abbr_', None)
    if own:
        return str(own)
    return re.sub(r'(?<=[a-z0-9])(?=[A-Z])', '_', plugin_class.__name__).lower()


def build_plugin_layer(cfg: Cfg, postfix: int | str = '', **arguments: Any) -> tuple[str, nn.Module]:
    """Build the plugin of a config: its name in checkpoints, which ends with `postfix`, and the layer."""
    own = dict(cfg)
    if 'type' not in own:
        raise UnknownNameError(f"the cfg of a plugin needs a 'type', got {own}", key='cfg')
    kind = own.pop('type')
    plugin_class: type[nn.Module] = PLUGIN_LAYERS.get(kind) if isinstance(kind, str) else kind  # type: ignore[assignment]
    return plugin_abbreviation(plugin_class) + str(postfix), plugin_class(**{**arguments, **own})
