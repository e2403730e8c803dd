"""Balanced samplers (Libra R-CNN, arXiv:1904.02701), and the combination of two samplers."""

from __future__ import annotations

import torch
from torch import Tensor

from mmkit.bbox.samplers.base import BaseSampler, SamplingContext, random_choice
from mmkit.bbox.samplers.random import RandomSampler
from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.registry import BBOX_SAMPLERS, Cfg


@BBOX_SAMPLERS.register_module()
class InstanceBalancedPosSampler(RandomSampler):
    """Equally many positives of every ground truth; random negatives. Arguments are those of `BaseSampler`."""

    def choose_pos(self, context: SamplingContext, num: int) -> Tensor:
        positive = context.positive
        if len(positive) <= num:
            return positive
        gt_inds = context.assignment.gt_inds[positive]
        with_priors: Tensor = torch.unique(gt_inds)
        per_gt = round(num / len(with_priors)) + 1
        chosen = torch.cat([random_choice(positive[gt_inds == gt], per_gt) for gt in with_priors])
        return _fill_up(random_choice(chosen, num), positive, num)


@BBOX_SAMPLERS.register_module()
class IoUBalancedNegSampler(RandomSampler):
    """Negatives spread evenly over the range of overlaps; random positives.

    Args:
        num: priors to choose.
        pos_fraction: of `num`, at most that many positives; negatives fill up.
        floor_thr: negatives that overlap less than this are the floor, from which only `floor_fraction` are taken;
            negative: no floor.
        floor_fraction: 0 .. 1.
        num_bins: intervals of overlap above the floor from which equally many are taken.
        neg_pos_ub: at most that many negatives for each positive; negative: no limit.
        add_gt_as_proposals: put the ground truths before the priors, each matched with itself.
    """

    def __init__(
        self,
        num: int,
        pos_fraction: float,
        floor_thr: float = -1,
        floor_fraction: float = 0,
        num_bins: int = 3,
        neg_pos_ub: float = -1,
        add_gt_as_proposals: bool = True,
    ) -> None:
        super().__init__(num, pos_fraction, neg_pos_ub, add_gt_as_proposals)
        if not (floor_thr >= 0 or floor_thr == -1):
            raise InvalidValueError(f'floor_thr must be -1, or 0 or above, got {floor_thr}', key='floor_thr')
        if not 0 <= floor_fraction <= 1:
            raise InvalidValueError(f'floor_fraction must be within 0 .. 1, got {floor_fraction}', key='floor_fraction')
        if num_bins < 1:
            raise InvalidValueError(f'num_bins must be at least 1, got {num_bins}', key='num_bins')
        self.floor_thr = floor_thr
        self.floor_fraction = floor_fraction
        self.num_bins = num_bins

    def choose_neg(self, context: SamplingContext, num: int) -> Tensor:
        negative = context.negative
        if len(negative) <= num:
            return negative
        overlaps = context.assignment.max_overlaps[negative]
        # A floor at 0 holds the negatives without any overlap.
        above = overlaps > self.floor_thr if self.floor_thr <= 0 else overlaps >= self.floor_thr
        floor, spread = negative[~above], negative[above]
        num_spread = int(num * (1 - self.floor_fraction))
        chosen = spread
        if len(spread) > num_spread:
            top = float(context.assignment.max_overlaps.max())
            chosen = self._over_bins(spread, overlaps[above], top, num_spread)
        chosen = torch.cat([chosen, random_choice(floor, num - len(chosen))])
        return _fill_up(chosen, negative, num)

    def _over_bins(self, gallery: Tensor, overlaps: Tensor, top: float, num: int) -> Tensor:
        """`num` of `gallery`, equally many from each bin of overlaps between the floor and `top`."""
        bottom = max(self.floor_thr, 0)
        width = (top - bottom) / self.num_bins
        chosen = []
        for i in range(self.num_bins):
            inside = (overlaps >= bottom + i * width) & (overlaps < bottom + (i + 1) * width)
            chosen.append(random_choice(gallery[inside], int(num / self.num_bins)))
        return _fill_up(torch.cat(chosen), gallery, num)


@BBOX_SAMPLERS.register_module()
class CombinedSampler(BaseSampler):
    """Positives of one sampler, negatives of another.

    Args:
        pos_sampler: config of the sampler for positives; it gets the arguments below unless it has its own.
        neg_sampler: likewise for negatives.
        num: priors to choose.
        pos_fraction: of `num`, at most that many positives; negatives fill up.
        neg_pos_ub: at most that many negatives for each positive; negative: no limit.
        add_gt_as_proposals: put the ground truths before the priors, each matched with itself.
    """

    def __init__(
        self,
        pos_sampler: Cfg | BaseSampler,
        neg_sampler: Cfg | BaseSampler,
        num: int,
        pos_fraction: float,
        neg_pos_ub: float = -1,
        add_gt_as_proposals: bool = True,
    ) -> None:
        super().__init__(num, pos_fraction, neg_pos_ub, add_gt_as_proposals)
        self.pos_sampler = _build_part(pos_sampler, num, pos_fraction)
        self.neg_sampler = _build_part(neg_sampler, num, pos_fraction)
        self.needs_hard_losses = self.pos_sampler.needs_hard_losses or self.neg_sampler.needs_hard_losses

    def choose_pos(self, context: SamplingContext, num: int) -> Tensor:
        return self.pos_sampler.choose_pos(context, num)

    def choose_neg(self, context: SamplingContext, num: int) -> Tensor:
        return self.neg_sampler.choose_neg(context, num)


def _build_part(cfg: Cfg | BaseSampler, num: int, pos_fraction: float) -> BaseSampler:
    """A sampler that can choose positives and negatives separately."""
    sampler = BBOX_SAMPLERS.build(cfg, num=num, pos_fraction=pos_fraction)
    if not isinstance(sampler, BaseSampler):
        raise InvalidTypeError(f'CombinedSampler combines samplers that choose, {type(sampler).__name__} takes all')
    return sampler


def _fill_up(chosen: Tensor, gallery: Tensor, num: int) -> Tensor:
    """`chosen`, and as many others of `gallery` at random as make `num`."""
    rest = gallery[~torch.isin(gallery, chosen)]
    return torch.cat([chosen, random_choice(rest, num - len(chosen))])
