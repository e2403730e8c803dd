"""Bipartite matching of several predictions with each ground truth."""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from mmkit.bbox.assigners.base import NO_INFO, BaseAssigner, required
from mmkit.bbox.assigners.task_aligned import AlignedAssignment
from mmkit.bbox.boxes import xyxy_to_cxcywh
from mmkit.bbox.iou import bbox_overlaps
from mmkit.errors import InvalidValueError
from mmkit.registry import BBOX_ASSIGNERS, MATCH_COSTS, Cfg
from mmkit.structures import Assignment, Instances, PriorInfo


@BBOX_ASSIGNERS.register_module()
class TopkHungarianAssigner(BaseAssigner):
    """Matching of `topk` predictions with each ground truth at the least total cost (DDQ, arXiv:2303.12776).

    Args:
        topk: predictions of a ground truth.
        cls_cost: of `MATCH_COSTS`, on classes; it gets probabilities in place of logits, as in mmdetection.
        reg_cost: on normalised boxes.
        iou_cost: on boxes in pixels.
    """

    needs = frozenset({'scores', 'bbox_preds', 'img_shape'})

    def __init__(
        self,
        topk: int,
        cls_cost: Cfg = dict(type='FocalLossCost', weight=2.0),
        reg_cost: Cfg = dict(type='BBoxL1Cost', weight=5.0),
        iou_cost: Cfg = dict(type='IoUCost', iou_mode='giou', weight=2.0),
    ) -> None:
        if topk < 1:
            raise InvalidValueError(f'topk of TopkHungarianAssigner must be at least 1, got {topk}', key='topk')
        self.topk = topk
        self.cls_cost = MATCH_COSTS.build(cls_cost)
        self.reg_cost = MATCH_COSTS.build(reg_cost)
        self.iou_cost = MATCH_COSTS.build(iou_cost)

    @torch.no_grad()
    def assign(
        self,
        bboxes: Tensor,
        gts: Instances,
        ignored: Tensor | None = None,
        info: PriorInfo = NO_INFO,
        alpha: float = 1,
        beta: float = 6,
    ) -> AlignedAssignment:
        """Match predictions with `gts`, which must have labels.

        Args:
            bboxes: have no effect, as predictions alone count.
            gts: the ground truth.
            ignored: has no effect.
            info: `scores` (N, C), `bbox_preds` (N, 4) xyxy in pixels, and `img_shape`.
            alpha, beta: powers of score and IoU in the alignment.
        """
        assert gts.labels is not None
        scores, bbox_preds = required(info.scores, 'scores'), required(info.bbox_preds, 'bbox_preds')
        height, width = required(info.img_shape, 'img_shape')[:2]
        size = bbox_preds.new_tensor([width, height, width, height])
        cost = self.cls_cost(scores, gts.labels) + self.reg_cost(xyxy_to_cxcywh(bbox_preds / size), gts.bboxes / size)
        cost = cost + self.iou_cost(bbox_preds, gts.bboxes)  # (N, K)
        predictions, objects = linear_sum_assignment(cost.cpu().repeat(1, self.topk).numpy())
        matched = torch.from_numpy(predictions).to(cost.device)
        gt_inds = torch.from_numpy(objects).to(cost.device) % max(len(gts), 1)  # (M,)
        overlaps = bbox_overlaps(bbox_preds[matched], gts.bboxes[gt_inds], is_aligned=True)
        assignment = Assignment.all_background(bbox_preds, gts)
        assignment.gt_inds[matched] = gt_inds
        max_overlaps, alignment = (torch.zeros_like(assignment.max_overlaps) for _ in range(2))
        max_overlaps[matched] = overlaps.to(max_overlaps)
        alignment[matched] = (scores[matched, gts.labels[gt_inds]] ** alpha * overlaps**beta).to(alignment)
        assignment = Assignment.from_gt_inds(assignment.gt_inds, max_overlaps, gts)
        return AlignedAssignment(**vars(assignment), alignment=alignment)
