"""Assigner and sampler in the `train_cfg` of a dense head."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from typing_extensions import Self

from mmkit.bbox.samplers import PseudoSampler
from mmkit.errors import InvalidValueError
from mmkit.models.settings import build_assigner, known_settings
from mmkit.protocols import Assigner, BoxSampler
from mmkit.registry import BBOX_SAMPLERS, Cfg, located


def build_sampler(cfg: Cfg | None, head: str, takes_sampler: bool = True) -> BoxSampler:
    """Sampler of the head of this name; without a config, one that takes all priors.

    Args:
        takes_sampler: False if the loss of the head needs all priors.

    Raises:
        InvalidValueError: if the head cannot serve the sampler.
    """
    sampler: BoxSampler = BBOX_SAMPLERS.build(cfg) if cfg else PseudoSampler()
    if not takes_sampler and not sampler.takes_all:
        message = f'{head} chooses among all priors: no sampler in train_cfg, got {cfg}'
    elif sampler.needs_hard_losses:
        message = f'{head}: {type(sampler).__name__} ranks regions of a second stage, a dense head has none'
    elif sampler.add_gt_as_proposals:
        message = f'{head}: a ground truth is no prior, so the sampler of a dense head needs add_gt_as_proposals=False'
    else:
        return sampler
    raise InvalidValueError(message, key='sampler')


@dataclass(frozen=True)
class DenseTraining:
    """`train_cfg` of a dense head.

    Attributes:
        assigner: matches priors with objects.
        sampler: chooses the priors that the loss sees; by default all.
    """

    assigner: Assigner
    sampler: BoxSampler = field(default_factory=PseudoSampler)

    @classmethod
    def from_cfg(cls, cfg: Cfg, head: str, known: Collection[str] = (), takes_sampler: bool = True) -> Self:
        """Read a config for the head of this name; see `build_assigner` and `build_sampler`."""
        with located(cfg):
            settings = known_settings(cfg, cls, 'train_cfg')
            settings['assigner'] = build_assigner(settings['assigner'], head, known)
            settings['sampler'] = build_sampler(settings.get('sampler'), head, takes_sampler)
            return cls(**settings)
