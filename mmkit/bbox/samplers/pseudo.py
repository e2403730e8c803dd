"""No choice."""

from __future__ import annotations

from torch import Tensor

from mmkit.bbox.assigners import Assignment
from mmkit.bbox.samplers.base import Choice, HardLosses, Samples
from mmkit.registry import BBOX_SAMPLERS
from mmkit.structures import Instances


@BBOX_SAMPLERS.register_module()
class PseudoSampler:
    """Takes all positives and all negatives: for losses that see every prior."""

    def sample(
        self, assignment: Assignment, bboxes: Tensor, gts: Instances, hard_losses: HardLosses | None = None
    ) -> Samples:
        choice = Choice(assignment, bboxes, hard_losses)
        return Samples.gather(choice.positive, choice.negative, bboxes, gts, assignment)
