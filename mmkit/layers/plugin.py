"""Plugins: blocks that a backbone inserts at the positions of its config."""

from __future__ import annotations

import re
from typing import Any

from torch import nn

from mmkit.registry import PLUGIN_LAYERS, Cfg, build_from_cfg, located


def plugin_abbreviation(plugin_class: type) -> str:
    """The name of such a plugin in its module, as in mmcv: its `_abbr_`, or its class name in snake case."""
    own = getattr(plugin_class, '_abbr_', None)
    if own:
        return str(own)
    return re.sub(r'(?<=[a-z0-9])(?=[A-Z])', '_', plugin_class.__name__).lower()


def build_plugin_layer(cfg: Cfg, postfix: int | str = '', **arguments: Any) -> tuple[str, nn.Module]:
    """Build the plugin of a config.

    Args:
        cfg: `type`, its arguments and, optionally, a `postfix` that takes precedence.
        postfix: appended to the abbreviation of the plugin.
        arguments: defaults of its arguments.

    Returns:
        The plugin's name in checkpoints, e.g. 'context_block', and the layer.
    """
    with located(cfg):
        layer = build_from_cfg({key: cfg[key] for key in cfg if key != 'postfix'}, PLUGIN_LAYERS, arguments)
    return plugin_abbreviation(type(layer)) + str(cfg.get('postfix', postfix)), layer
