"""Sampler that keeps everything."""

from __future__ import annotations

from torch import Tensor

from mmkit.bbox.samplers.base import SamplingContext
from mmkit.registry import BBOX_SAMPLERS
from mmkit.structures import Assignment, Instances, SamplingResult
from mmkit.structures.assignment import HardLosses, PredictRegions


@BBOX_SAMPLERS.register_module()
class PseudoSampler:
    """Takes all positives and all negatives: for losses that see every prior."""

    add_gt_as_proposals = False
    takes_all = True
    needs_hard_losses = False

    def sample(
        self,
        assignment: Assignment,
        bboxes: Tensor,
        gts: Instances,
        hard_losses: HardLosses | None = None,
        predict: PredictRegions | None = None,
    ) -> SamplingResult:
        context = SamplingContext(assignment, bboxes, hard_losses)
        return SamplingResult.gather(context.positive, context.negative, bboxes, gts, assignment)
