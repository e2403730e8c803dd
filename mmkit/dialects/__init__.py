"""The dialects of configs, read into one typed and neutral `Recipe`. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmkit.config import Config, ConfigDict
from mmkit.dialects import v2
from mmkit.dialects.param_scheduler import param_curve
from mmkit.dialects.recipe import Overrides, Recipe
from mmkit.dialects.spellings.models import neutral_model
from mmkit.errors import ConfigError

__all__ = ['Overrides', 'Recipe', 'neutral_model', 'override', 'param_curve', 'read_recipe']

# Top-level keys of mmdetection 3.x that 2.x doesn't have.
_KEYS_OF_V3 = (
    *('train_dataloader', 'val_dataloader', 'test_dataloader', 'optim_wrapper', 'param_scheduler'),
    *('val_evaluator', 'test_evaluator', 'val_cfg', 'default_hooks', 'default_scope', 'env_cfg', 'vis_backends'),
)


def read_recipe(cfg: Mapping[str, Any], training: bool = True) -> Recipe:
    """The run that a merged config describes.

    Args:
        cfg: a whole config; it stays as it is.
        training: read what only a training needs.

    Raises:
        ConfigError: for a dialect that is not read.
        UserError: for values that make no sense, with the key, its file and its line.
    """
    whole = cfg if isinstance(cfg, ConfigDict) else ConfigDict(cfg)
    _require_v2(whole)
    return v2.read(whole, training)


def override(cfg: Config, overrides: Overrides) -> None:
    """Write settings of the command line into a config, in its dialect.

    Raises:
        ConfigError: if the config lacks what one of them needs.
    """
    _require_v2(cfg)
    v2.override(cfg, overrides)


def _require_v2(cfg: ConfigDict) -> None:
    for key in _KEYS_OF_V3:
        if key in cfg:
            message = f'{key!r} is a key of mmdetection 3.x, whose configs are not read yet: write a config of 2.x'
            raise ConfigError(message, key, cfg._origins.get(key))
