"""Assigner and sampler in the `train_cfg` of a dense head."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from mmkit.bbox.samplers import PseudoSampler
from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.models.settings import known_settings
from mmkit.protocols import Assigner, BoxSampler
from mmkit.registry import BBOX_ASSIGNERS, BBOX_SAMPLERS, build_from_cfg, located


def build_assigner(cfg: Mapping[str, Any], head: str, known: Collection[str] = ()) -> Assigner:
    """Assigner of the head of this name.

    Args:
        known: the fields of `PriorInfo` that the head fills in.

    Raises:
        TypeError: if the assigner needs others.
    """
    assigner: Assigner = build_from_cfg(cfg, BBOX_ASSIGNERS)
    missing = set(assigner.needs) - set(known)
    if missing:
        raise InvalidTypeError(
            f'{head} cannot train with {type(assigner).__name__}, which needs {", ".join(sorted(missing))}: '
            f'the head knows {", ".join(["boxes", *sorted(known)])}',
            key='assigner',
        )
    return assigner


def build_sampler(cfg: Mapping[str, Any] | None, head: str) -> BoxSampler:
    """Sampler of the head of this name; without a config, one that takes all priors.

    Raises:
        ValueError: if only a second stage can serve the sampler.
    """
    sampler: BoxSampler = build_from_cfg(cfg, BBOX_SAMPLERS) if cfg else PseudoSampler()
    if sampler.needs_hard_losses:
        raise InvalidValueError(
            f'{head}: {type(sampler).__name__} ranks regions of a second stage, a dense head has none', key='sampler'
        )
    if sampler.add_gt_as_proposals:
        raise InvalidValueError(
            f'{head}: a ground truth is no prior, so the sampler of a dense head needs add_gt_as_proposals=False',
            key='sampler',
        )
    return sampler


def refuse_sampler(cfg: Mapping[str, Any] | None, head: str) -> None:
    """Raise a ValueError if `cfg` asks the head of this name, whose loss sees all priors, for a sample."""
    sampler: BoxSampler = build_from_cfg(cfg, BBOX_SAMPLERS) if cfg else PseudoSampler()
    if not sampler.takes_all:
        raise InvalidValueError(f'{head} chooses among all priors: no sampler in train_cfg, got {cfg}', key='sampler')


@dataclass(frozen=True)
class UnsampledTraining:
    """`train_cfg` of a head whose loss sees all predictions.

    Attributes:
        assigner: matches predictions with objects.
        sampler: may be a `PseudoSampler`, which 2.x's configs name; None otherwise.
    """

    assigner: Assigner
    sampler: None = None

    @classmethod
    def from_cfg(cls, cfg: Mapping[str, Any], head: str, known: Collection[str]) -> UnsampledTraining:
        """Read a config for the head of this name, which fills in the `known` fields of `PriorInfo`."""
        with located(cfg):
            settings = known_settings(cfg, cls, 'train_cfg')
            refuse_sampler(settings.get('sampler'), head)
            return cls(build_assigner(settings['assigner'], head, known))
