"""Initial weights of a backbone: `init_cfg`, the older `pretrained`, or a default."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, cast

from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.layers import InitCfg
from mmkit.registry import Cfg

KAIMING_AND_ONES: Sequence[Cfg] = (
    dict(type='Kaiming', layer='Conv2d'),
    dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
)


def resolve_init_cfg(pretrained: str | None, init_cfg: InitCfg, default: InitCfg = KAIMING_AND_ONES) -> InitCfg:
    """The `init_cfg` of a backbone's constructor, which calls this directly.

    Args:
        pretrained: name of a checkpoint; deprecated.
        init_cfg: as the config has it; a `checkpoint` without a type, as in PVT's configs, is a pretrained one.
        default: taken if both are empty.

    Raises:
        InvalidValueError: both are given.
        InvalidTypeError: `pretrained` is not a string.
    """
    if pretrained is None:
        if isinstance(init_cfg, Mapping) and 'checkpoint' in init_cfg and 'type' not in init_cfg:
            typed: Any = copy.copy(init_cfg)  # the copy of a ConfigDict knows the lines of its keys
            typed['type'] = 'Pretrained'
            return cast(Cfg, typed)
        return init_cfg or default
    if init_cfg:
        raise InvalidValueError(
            f'give init_cfg or pretrained, not both: {init_cfg!r} and {pretrained!r}', key='pretrained'
        )
    if not isinstance(pretrained, str):
        raise InvalidTypeError(f'pretrained is the name of a checkpoint, got {pretrained!r}', key='pretrained')
    warnings.warn(
        f"pretrained={pretrained!r} is deprecated, use init_cfg=dict(type='Pretrained', checkpoint={pretrained!r})",
        DeprecationWarning,
        stacklevel=3,
    )
    return dict(type='Pretrained', checkpoint=pretrained)
