"""Plugins: blocks that a backbone inserts where its config says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import nn

from mmkit.registry import PLUGIN_LAYERS


def plugin_abbreviation(plugin_class: type) -> str:
    """The word that names such a plugin in a module: its `_abbr_`, or its class name in snake case."""
    own = getattr(plugin_class, '_abbr_', None)
    if own:
        return str(own)
    return re.sub(r'(?<=[a-z0-9])(?=[A-Z])', '_', plugin_class.__name__).lower()


def build_plugin_layer(cfg: Mapping[str, Any], postfix: int | str = '', **arguments: Any) -> tuple[str, nn.Module]:
    """The plugin `cfg` names, and the name checkpoints use for it, which ends with `postfix`."""
    own = dict(cfg)
    if 'type' not in own:
        raise KeyError(f"a plugin's cfg needs a 'type', got {own}")
    kind = own.pop('type')
    plugin_class = PLUGIN_LAYERS.get(kind) if isinstance(kind, str) else kind
    return plugin_abbreviation(plugin_class) + str(postfix), plugin_class(**{**arguments, **own})
