"""Models and their parts, built from configs."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from mmkit.dialects import neutral_model
from mmkit.errors import InvalidValueError
from mmkit.registry import (
    BACKBONES,
    CLASSIFIERS,
    DATA_PREPROCESSORS,
    DETECTORS,
    HEADS,
    LOSSES,
    NECKS,
    Cfg,
    build_from_cfg,
)


def build_detector(cfg: Cfg, train_cfg: Cfg | None = None, test_cfg: Cfg | None = None) -> nn.Module:
    """The detector (or classifier) that `cfg` describes, with random weights.

    Args:
        cfg: the `model` of a config of 2.x, or of 3.x, which is known by its `data_preprocessor`.
        train_cfg, test_cfg: where configs before mmdetection 2.9 keep these two, outside of `model`.

    Raises:
        InvalidValueError: if one of the two is given inside and outside of `cfg`.
    """
    outer = {k: v for k, v in dict(train_cfg=train_cfg, test_cfg=test_cfg).items() if v is not None}
    twice = [key for key in outer if cfg.get(key) is not None]
    if twice:
        raise InvalidValueError(f'{" and ".join(twice)} given both inside and outside of model', key=twice[0])
    if not outer:
        return build_neutral_model(neutral_model(cfg))
    arguments: Any = copy.copy(cfg)
    arguments.update(outer)
    return build_neutral_model(neutral_model(arguments))


def build_neutral_model(cfg: Cfg) -> nn.Module:
    """The detector (or classifier) of a `Recipe`, with random weights."""
    arguments: Any = copy.copy(cfg)
    preprocessor = arguments.pop('data_preprocessor', None)  # of any detector: no constructor has to hand it on
    model: nn.Module = build_from_cfg(arguments, CLASSIFIERS if cfg.get('type') in CLASSIFIERS else DETECTORS)
    if preprocessor is not None:
        model.data_preprocessor = DATA_PREPROCESSORS.build(preprocessor)
    return model


def build_backbone(cfg: Cfg) -> nn.Module:
    return BACKBONES.build(cfg)


def build_neck(cfg: Cfg) -> nn.Module:
    return NECKS.build(cfg)


def build_head(cfg: Cfg) -> nn.Module:
    return HEADS.build(cfg)


def build_loss(cfg: Cfg) -> nn.Module:
    return LOSSES.build(cfg)
