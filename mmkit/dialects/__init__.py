"""The dialects of configs, read into one typed and neutral `Recipe`. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmkit.config import Config, ConfigDict
from mmkit.dialects import v2, v3
from mmkit.dialects.mixture import find_dialect
from mmkit.dialects.param_scheduler import param_curve
from mmkit.dialects.recipe import Overrides, Recipe
from mmkit.dialects.spellings.models import neutral_model

__all__ = ['Overrides', 'Recipe', 'find_dialect', 'neutral_model', 'override', 'param_curve', 'read_recipe']


def read_recipe(cfg: Mapping[str, Any], training: bool = True) -> Recipe:
    """The run that a merged config describes, in whichever dialect.

    Args:
        cfg: a whole config; it stays as it is.
        training: read what only a training needs.

    Raises:
        ConfigError: for a mixture of the dialects.
        UserError: for values that make no sense, with the key, its file and its line.
    """
    whole = cfg if isinstance(cfg, ConfigDict) else ConfigDict(cfg)
    return v3.read(whole, training) if find_dialect(whole) == 3 else v2.read(whole, training)


def override(cfg: Config, overrides: Overrides) -> None:
    """Write settings of the command line into a config, in its dialect.

    Raises:
        ConfigError: if the config lacks what one of them needs.
    """
    (v3 if find_dialect(cfg) == 3 else v2).override(cfg, overrides)
