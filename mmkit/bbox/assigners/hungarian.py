"""One prediction for each ground truth, at the least total cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from mmkit.bbox.assigners.assignment import Assignment, all_background
from mmkit.bbox.boxes import cxcywh_to_xyxy
from mmkit.bbox.match_costs import BBoxL1Cost, ClassificationCost, IoUCost
from mmkit.registry import BBOX_ASSIGNERS, MATCH_COSTS
from mmkit.structures import Instances


@BBOX_ASSIGNERS.register_module()
class HungarianAssigner:
    """Bipartite matching (DETR, arXiv:2005.12872).

    Args:
        cls_cost: of `MATCH_COSTS`, on classes; None: `ClassificationCost`.
        reg_cost: on normalised boxes; None: `BBoxL1Cost`.
        iou_cost: on boxes in pixels; None: `IoUCost` of GIoU.
    """

    def __init__(
        self,
        cls_cost: Mapping[str, Any] | None = None,
        reg_cost: Mapping[str, Any] | None = None,
        iou_cost: Mapping[str, Any] | None = None,
    ) -> None:
        self.cls_cost = ClassificationCost() if cls_cost is None else MATCH_COSTS.build(cls_cost)
        self.reg_cost = BBoxL1Cost() if reg_cost is None else MATCH_COSTS.build(reg_cost)
        self.iou_cost = IoUCost() if iou_cost is None else MATCH_COSTS.build(iou_cost)

    @torch.no_grad()
    def assign(
        self,
        bboxes: Tensor,
        gts: Instances,
        ignored: Tensor | None = None,
        *,
        cls_scores: Tensor,
        img_shape: Sequence[int],
    ) -> Assignment:
        """Pair predictions with `gts`, which must have labels; what is left over is background.

        Args:
            bboxes: (Q, 4) predicted cx, cy, w, h, in parts of the image, 0 .. 1.
            gts: the ground truth, in pixels.
            ignored: plays no part: every prediction that is not paired is background.
            cls_scores: (Q, C) logits.
            img_shape: (height, width) by which boxes are normalised.
        """
        found = all_background(bboxes, gts)
        if not len(gts) or not len(bboxes):
            return found
        assert gts.labels is not None
        height, width = img_shape[:2]
        scale = bboxes.new_tensor([width, height, width, height])
        cost = (
            self.cls_cost(cls_scores, gts.labels)
            + self.reg_cost(bboxes, gts.bboxes / scale)
            + self.iou_cost(cxcywh_to_xyxy(bboxes) * scale, gts.bboxes)
        )  # (Q, K)
        queries, matched = (torch.from_numpy(i).to(bboxes.device) for i in linear_sum_assignment(cost.cpu().numpy()))
        found.gt_inds[queries] = matched
        return Assignment.from_gt_inds(found.gt_inds, found.max_overlaps, gts)
