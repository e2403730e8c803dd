"""Where the weights of a backbone start: `init_cfg`, the older `pretrained`, or a default."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from mmkit.layers.init import InitCfg

KAIMING_AND_ONES: Sequence[Mapping[str, Any]] = (
    dict(type='Kaiming', layer='Conv2d'),
    dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
)


def starting_weights(
    name: str, pretrained: str | None, init_cfg: InitCfg, default: InitCfg = KAIMING_AND_ONES
) -> InitCfg:
    """The init_cfg to use.

    Args:
        name: of the backbone, for messages.
        pretrained: checkpoint, deprecated.
        init_cfg: what the config says; a `checkpoint` without a type, as in PVT's configs, is one to start from.
        default: for when it says nothing.

    Raises:
        ValueError: both are given.
        TypeError: `pretrained` is not a string.
    """
    if pretrained is None:
        if isinstance(init_cfg, Mapping) and 'checkpoint' in init_cfg and 'type' not in init_cfg:
            typed: Any = copy.copy(init_cfg)  # a config's copy knows the lines of its keys
            typed['type'] = 'Pretrained'
            return typed  # type: ignore[no-any-return]
        return init_cfg or default
    if init_cfg:
        raise ValueError(f'{name}: give init_cfg or pretrained, not both: {init_cfg!r} and {pretrained!r}')
    if not isinstance(pretrained, str):
        raise TypeError(f'{name}: pretrained is the name of a checkpoint, got {pretrained!r}')
    warnings.warn(
        f'{name}: pretrained={pretrained!r} is deprecated, use '
        f"init_cfg=dict(type='Pretrained', checkpoint={pretrained!r})",
        DeprecationWarning,
        stacklevel=3,
    )
    return dict(type='Pretrained', checkpoint=pretrained)
