"""Checkpoints of mmdetection 3.x, which mmengine writes: what they say in other words than ours."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mmkit.utils.state_dict import metadata_of, with_metadata

_PREPROCESSOR = re.compile(r'(.*\.)?data_preprocessor\.')


def own_meta(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The `meta` of a checkpoint with CLASSES and PALETTE, which 3.x keeps in `dataset_meta`."""
    dataset_meta = meta.get('dataset_meta') or {}
    theirs = {name: dataset_meta.get(name.lower(), dataset_meta.get(name)) for name in ('CLASSES', 'PALETTE')}
    named = {name: value for name, value in theirs.items() if isinstance(value, (list, tuple))}  # not palette='random'
    return {**named, **meta}


def without_preprocessor(state_dict: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The weights without mean and std of the images, which the config tells."""
    kept = OrderedDict((name, value) for name, value in state_dict.items() if not _PREPROCESSOR.match(name))
    return with_metadata(kept, metadata_of(state_dict))


def trained_weights(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights that the optimizer changes, if `state_dict` has their averages; otherwise none.

    Averages of 3.x are the `state_dict`, so that they are what is loaded, and the others are in `ema_state_dict`.
    """
    others: Mapping[str, Tensor] = checkpoint.get('ema_state_dict') or {}
    start = 'module.'  # beside them there is a counter
    trained = {name.removeprefix(start): value for name, value in others.items() if name.startswith(start)}
    return dict(without_preprocessor(trained))
