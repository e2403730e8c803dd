"""Negatives ranked by score within their groups, arXiv:1904.04821."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from mmkit.bbox.ranks import ranks_in_groups
from mmkit.bbox.samplers.base import SamplingContext, random_choice
from mmkit.bbox.samplers.random import RandomSampler
from mmkit.ops import nms_match
from mmkit.registry import BBOX_SAMPLERS
from mmkit.structures import Assignment, Instances, SamplingResult
from mmkit.structures.assignment import HardLosses, PredictRegions


@BBOX_SAMPLERS.register_module()
class ScoreHLRSampler(RandomSampler):
    """Random positives; the most important negatives, with weights: `sample` needs `predict`.

    The boxes that the head makes of negatives fall into groups as NMS does it. The best of each group come first, then
    the second of each, ...; where those above `score_thr` are too few, others fill up.

    Args:
        num: priors to choose.
        pos_fraction: of `num`, at most that many positives; negatives fill up.
        neg_pos_ub: at most that many negatives for each positive; negative: no limit.
        add_gt_as_proposals: put the ground truths before the priors, each matched with itself.
        k: power of the weights, which fall off linearly with the rank.
        bias: the least weight, before the power is taken.
        score_thr: negatives are ranked whose greatest probability of a class is above it.
        iou_thr: of the groups.
    """

    needs_hard_losses = True

    def __init__(
        self,
        num: int,
        pos_fraction: float,
        neg_pos_ub: float = -1,
        add_gt_as_proposals: bool = True,
        k: float = 0.5,
        bias: float = 0,
        score_thr: float = 0.05,
        iou_thr: float = 0.5,
    ) -> None:
        super().__init__(num, pos_fraction, neg_pos_ub, add_gt_as_proposals)
        self.k = k
        self.bias = bias
        self.score_thr = score_thr
        self.iou_thr = iou_thr

    def choose_neg(self, context: SamplingContext, num: int) -> Tensor:
        return self.rank_negatives(context, num)[0]

    def sample(
        self,
        assignment: Assignment,
        bboxes: Tensor,
        gts: Instances,
        hard_losses: HardLosses | None = None,
        predict: PredictRegions | None = None,
    ) -> SamplingResult:
        context, num_added = self.context(assignment, bboxes, gts, hard_losses, predict)
        pos_inds = self.choose_pos(context, int(self.num * self.pos_fraction)).sort().values
        neg_inds, weights = self.rank_negatives(context, self.num_neg(len(pos_inds)))
        samples = SamplingResult.gather(pos_inds, neg_inds, context.bboxes, gts, context.assignment, num_added)
        return replace(samples, neg_weights=weights)

    def rank_negatives(self, context: SamplingContext, num: int) -> tuple[Tensor, Tensor]:
        """Indices (Q,) of at most `num` negatives, the most important first, and their weights (Q,)."""
        negative = context.negative
        num = min(num, len(negative))
        ones = context.bboxes.new_ones(num)
        if not num:
            return negative[:0], ones
        if context.predict is None:
            raise ValueError('ScoreHLRSampler ranks boxes by what the head makes of them: sample() needs predict')
        regions = context.predict(context.bboxes[negative])
        likely = (regions.scores > self.score_thr).nonzero().squeeze(1)
        if not len(likely):
            return random_choice(negative, num), ones
        scores = regions.scores[likely]
        ranks = ranks_in_groups(scores, nms_match(regions.bboxes[likely], scores, self.iou_thr))
        ranked = likely[(scores - ranks).argsort(descending=True)][:num]
        unlikely = (regions.scores <= self.score_thr).nonzero().squeeze(1)
        chosen = torch.cat([ranked, random_choice(unlikely, num - len(ranked))])

        most = max(num, len(likely))
        steps = torch.arange(num, device=ones.device).clamp(max=len(ranked) - 1)  # all others count as the last
        weights = (self.bias + (1 - self.bias) * (1 - steps / most)) ** self.k
        losses = regions.losses[chosen]
        total = (losses * weights).sum().clamp(min=torch.finfo(torch.float32).tiny)
        return negative[chosen], weights * losses.sum() / total
