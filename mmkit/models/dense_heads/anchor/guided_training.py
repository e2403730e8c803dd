"""Training of guided anchors, arXiv:1901.03278: its settings, and the targets of locations (section 3.2)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from typing_extensions import Self

from mmkit.bbox.samplers import PseudoSampler
from mmkit.models.dense_heads.anchor.base_anchor_head import AnchorTraining
from mmkit.models.dense_heads.training_settings import build_sampler
from mmkit.models.settings import build_assigner
from mmkit.protocols import Assigner, BoxSampler
from mmkit.registry import Cfg, located
from mmkit.structures import Instances

_NEGATIVE_WEIGHT = 0.1  # positives are few, and have the weight 1


@dataclass(frozen=True, kw_only=True)
class GuidedTraining(AnchorTraining):
    """`train_cfg` of a head with guided anchors.

    Attributes:
        ga_assigner: matches squares with the objects that their shapes are to fit.
        ga_sampler: chooses among them; by default all.
        center_ratio: side of the part of an object in which locations are positive, in sides of the object.
        ignore_ratio: side of the part in which they are not negative.

    Others as in `AnchorTraining`; they are of the guided anchors.
    """

    ga_assigner: Assigner
    ga_sampler: BoxSampler = field(default_factory=PseudoSampler)
    center_ratio: float
    ignore_ratio: float

    @classmethod
    def from_cfg(cls, cfg: Cfg, head: str, known: Collection[str] = (), takes_sampler: bool = True) -> Self:
        settings = super().from_cfg(cfg, head, known, takes_sampler)
        with located(cfg):
            ga_assigner = build_assigner(cfg['ga_assigner'], head, ['approxs'])
            return replace(settings, ga_assigner=ga_assigner, ga_sampler=build_sampler(cfg.get('ga_sampler'), head))


def location_targets(
    sizes: Sequence[tuple[int, int]],
    strides: Sequence[int],
    gts: Sequence[Instances],
    base_scale: float,
    center_ratio: float,
    ignore_ratio: float,
) -> tuple[Tensor, Tensor]:
    """Targets of the map of locations, (B, N) 0 or 1, and their weights (B, N), for the cells of all levels.

    An object is of the level whose anchor of `base_scale` strides is nearest in size. There the middle of the object
    is positive, and a part around it has the weight 0, as it has on the two levels beside.

    Args:
        sizes: (height, width) of each level.
        strides: of each level, in pixels.
        gts: the objects of each image.
        base_scale: normal size of an object, in strides.
        center_ratio: side of the middle, in sides of the object.
        ignore_ratio: side of the part around it.
    """
    device = gts[0].bboxes.device
    targets = [torch.zeros(len(gts), *size, device=device) for size in sizes]
    weights = [torch.full_like(level, _NEGATIVE_WEIGHT) for level in targets]
    beside = [torch.zeros_like(level, dtype=torch.bool) for level in targets]
    for image, each in enumerate(gts):
        levels = _levels_of(each.bboxes, base_scale * strides[0], len(sizes))
        for level, size in enumerate(sizes):
            cells = each.bboxes / strides[level]
            inner = _regions(cells, center_ratio, size).tolist()
            outer = _regions(cells, ignore_ratio, size).tolist()
            for of_object, middle, around in zip(levels, inner, outer, strict=True):
                if of_object == level:  # what a later object has around it may hide the middle of an earlier one
                    targets[level][image][_span(middle)] = 1
                    weights[level][image][_span(around)] = 0
                    weights[level][image][_span(middle)] = 1
                elif abs(of_object - level) == 1:
                    beside[level][image][_span(around)] = True
    for level_weights, hidden in zip(weights, beside, strict=True):
        level_weights[hidden & (level_weights == _NEGATIVE_WEIGHT)] = 0
    return _flat(targets), _flat(weights)


def _levels_of(bboxes: Tensor, least: float, num_levels: int) -> list[int]:
    """The level of each box, on the first of which objects of the size `least` are normal."""
    scales = ((bboxes[:, 2] - bboxes[:, 0]) * (bboxes[:, 3] - bboxes[:, 1])).sqrt()
    levels: list[int] = (scales / least).log2().add(0.5).floor().clamp(0, num_levels - 1).int().tolist()
    return levels


def _regions(bboxes: Tensor, ratio: float, size: tuple[int, int]) -> Tensor:
    """(K, 4) int64 first and last cell, in x and y, of the middle of boxes (K, 4) with `ratio` of their sides."""
    outside = (1 - ratio) / 2
    first = (1 - outside) * bboxes[:, :2] + outside * bboxes[:, 2:]
    last = outside * bboxes[:, :2] + (1 - outside) * bboxes[:, 2:]
    limit = bboxes.new_tensor([size[1], size[0]])
    return torch.cat([torch.minimum(each.round().clamp(min=0), limit) for each in (first, last)], dim=1).long()


def _span(region: Sequence[int]) -> tuple[slice, slice]:
    left, top, right, bottom = region
    return slice(top, bottom + 1), slice(left, right + 1)


def _flat(levels: Sequence[Tensor]) -> Tensor:
    return torch.cat([level.flatten(1) for level in levels], dim=1)
