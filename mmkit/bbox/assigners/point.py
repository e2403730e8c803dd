"""Assignment of the points nearest to the centre of an object, on the level of its size."""

from __future__ import annotations

from torch import Tensor

from mmkit.bbox.assigners.base import NO_INFO, BaseAssigner
from mmkit.bbox.boxes import bbox_centers
from mmkit.registry import BBOX_ASSIGNERS
from mmkit.structures import Assignment, Instances, PriorInfo


@BBOX_ASSIGNERS.register_module()
class PointAssigner(BaseAssigner):
    """Assignment of points (RepPoints, arXiv:1904.11490).

    Args:
        scale: an object of side `scale` * stride belongs to the level of that stride.
        pos_num: points that an object gets, of those nearest to its centre.
    """

    def __init__(self, scale: float = 4, pos_num: int = 3) -> None:
        self.scale = scale
        self.pos_num = pos_num

    def assign(
        self, bboxes: Tensor, gts: Instances, ignored: Tensor | None = None, info: PriorInfo = NO_INFO
    ) -> Assignment:
        """Assign points to `gts`.

        A point that is near to several objects goes to the one whose centre is nearest, relative to its size.

        Args:
            bboxes: (N, 3) x, y, stride; strides are powers of 2.
            gts: the ground truth.
            ignored: has no effect.
            info: is not read.
        """
        assignment = Assignment.all_background(bboxes, gts)
        if not len(gts) or not len(bboxes):
            return assignment
        points, levels = bboxes[:, :2], bboxes[:, 2].log2().int()
        centers = bbox_centers(gts.bboxes)
        sizes = (gts.bboxes[:, 2:] - gts.bboxes[:, :2]).clamp(min=1e-6)
        gt_levels = (sizes / self.scale).log2().mean(1).int().clamp(int(levels.min()), int(levels.max()))
        nearest = points.new_full((len(points),), float('inf'))
        for gt, level in enumerate(gt_levels.tolist()):
            on_level = (levels == level).nonzero(as_tuple=True)[0]
            distances = ((points[on_level] - centers[gt]) / sizes[gt]).norm(dim=1)
            distances, order = distances.topk(min(self.pos_num, len(on_level)), largest=False)
            chosen = on_level[order]
            nearer = distances < nearest[chosen]
            assignment.gt_inds[chosen[nearer]] = gt
            nearest[chosen[nearer]] = distances[nearer]
        return Assignment.from_gt_inds(assignment.gt_inds, assignment.max_overlaps, gts)
