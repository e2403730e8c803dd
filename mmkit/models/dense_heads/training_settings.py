"""The `assigner` and the `sampler` in the `train_cfg` of a dense head."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from inspect import signature
from typing import Any

from mmkit.bbox.samplers import OHEMSampler, PseudoSampler
from mmkit.registry import BBOX_ASSIGNERS, BBOX_SAMPLERS, build_from_cfg


def dense_assigner(
    train_cfg: Mapping[str, Any], name: str, gives: Iterable[str] = (), may_give: Iterable[str] = ()
) -> Any:
    """The assigner that `train_cfg` of the head `name` asks for.

    Args:
        gives: what the head hands over by name, besides boxes, objects and ignored regions.
        may_give: what it hands over if the assigner has an argument of this name.

    Raises:
        TypeError: if the assigner needs something else, or has no use for what it is given.
    """
    assigner = build_from_cfg(train_cfg['assigner'], BBOX_ASSIGNERS)
    gives = set(gives)
    further = list(signature(assigner.assign).parameters.values())[3:]
    takes = {each.name for each in further}
    needs = {each.name for each in further if each.default is each.empty}
    if not needs - set(may_give) <= gives <= takes:
        raise TypeError(
            f'{name} cannot train with {type(assigner).__name__}, which assigns by '
            f'{", ".join(sorted(takes)) or "IoU"}: the head gives it {", ".join(sorted(gives)) or "boxes"} only'
        )
    return assigner


def dense_sampler(train_cfg: Mapping[str, Any], name: str) -> Any:
    """The sampler that `train_cfg` of the head `name` asks for, else one that takes all.

    Raises:
        ValueError: for a sampler that only a second stage can serve.
    """
    sampler = build_from_cfg(train_cfg.get('sampler') or dict(type='PseudoSampler'), BBOX_SAMPLERS)
    if isinstance(sampler, OHEMSampler):
        raise ValueError(f'{name}: OHEMSampler ranks regions of a second stage, a dense head has none')
    if getattr(sampler, 'add_gt_as_proposals', False):
        raise ValueError(
            f'{name}: a ground truth is no prior, so the sampler of a dense head needs add_gt_as_proposals=False'
        )
    return sampler


def refuse_sampler(train_cfg: Mapping[str, Any], name: str) -> None:
    """Raise a ValueError if `train_cfg` of the head `name`, whose loss sees all priors, asks for a choice."""
    sampler = train_cfg.get('sampler')
    if sampler and not isinstance(build_from_cfg(sampler, BBOX_SAMPLERS), PseudoSampler):
        raise ValueError(f'{name} chooses among all priors: no sampler in train_cfg, got {sampler}')
