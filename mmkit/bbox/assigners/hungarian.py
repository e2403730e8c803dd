"""Bipartite matching: one prediction for each ground truth, at the least total cost."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from mmkit.bbox.assigners.base import NO_INFO, BaseAssigner, required
from mmkit.bbox.boxes import cxcywh_to_xyxy
from mmkit.bbox.match_costs import BBoxL1Cost, ClassificationCost, IoUCost
from mmkit.registry import BBOX_ASSIGNERS, MATCH_COSTS, Cfg
from mmkit.structures import Assignment, Instances, PriorInfo
from mmkit.structures.assignment import BACKGROUND


@BBOX_ASSIGNERS.register_module()
class HungarianAssigner(BaseAssigner):
    """Bipartite matching (DETR, arXiv:2005.12872).

    Args:
        cls_cost: of `MATCH_COSTS`, on classes; None: `ClassificationCost`.
        reg_cost: on normalised boxes; None: `BBoxL1Cost`.
        iou_cost: on boxes in pixels; None: `IoUCost` of GIoU.
    """

    needs = frozenset({'cls_scores', 'img_shape'})

    def __init__(
        self,
        cls_cost: Cfg | None = None,
        reg_cost: Cfg | None = None,
        iou_cost: Cfg | None = None,
    ) -> None:
        self.cls_cost = ClassificationCost() if cls_cost is None else MATCH_COSTS.build(cls_cost)
        self.reg_cost = BBoxL1Cost() if reg_cost is None else MATCH_COSTS.build(reg_cost)
        self.iou_cost = IoUCost() if iou_cost is None else MATCH_COSTS.build(iou_cost)

    @torch.no_grad()
    def match_batch(
        self, cls_scores: Tensor, bbox_preds: Tensor, gts: Sequence[Instances], img_shapes: Sequence[Sequence[int]]
    ) -> Tensor:
        """Match the queries of B images with their objects, for L decoder layers independently.

        Args:
            cls_scores: (L, B, Q, C) logits.
            bbox_preds: (L, B, Q, 4) cx, cy, w, h in shares of the image, 0 .. 1.
            gts: the ground truth of each image, with labels, in pixels.
            img_shapes: (height, width) of each image, by which boxes are normalised.

        Returns:
            (L, B, Q) int64, index of the object within its image, -1 for background.
        """
        costs = [
            self.cost(cls_scores[:, i].flatten(0, 1), bbox_preds[:, i].flatten(0, 1), image_gts, img_shape)
            for i, (image_gts, img_shape) in enumerate(zip(gts, img_shapes, strict=True))
        ]  # (L*Q, K) of each image
        on_host = torch.cat([cost.flatten() for cost in costs]).cpu()  # the one transfer from the device
        num_layers, _, num_query = cls_scores.shape[:3]
        matched = torch.full(cls_scores.shape[:3], BACKGROUND, dtype=torch.long)
        for i, image_costs in enumerate(torch.split(on_host, [cost.numel() for cost in costs])):
            for layer, cost in enumerate(image_costs.view(num_layers, num_query, len(gts[i]))):
                queries, objects = linear_sum_assignment(cost.numpy())
                matched[layer, i, torch.from_numpy(queries)] = torch.from_numpy(objects)
        return matched.to(cls_scores.device)

    def cost(self, cls_scores: Tensor, bbox_preds: Tensor, gts: Instances, img_shape: Sequence[int]) -> Tensor:
        """(Q, K) cost of pairing each query of one image with each of its objects."""
        assert gts.labels is not None
        height, width = img_shape[:2]
        scale = bbox_preds.new_tensor([width, height, width, height])
        cost: Tensor = self.cls_cost(cls_scores, gts.labels)
        cost = cost + self.reg_cost(bbox_preds, gts.bboxes / scale)
        return cost + self.iou_cost(cxcywh_to_xyxy(bbox_preds) * scale, gts.bboxes)

    def assign(
        self, bboxes: Tensor, gts: Instances, ignored: Tensor | None = None, info: PriorInfo = NO_INFO
    ) -> Assignment:
        """Match the queries of one image with `gts`, which must have labels; the others are background.

        Args:
            bboxes: (Q, 4) predicted cx, cy, w, h in shares of the image, 0 .. 1.
            gts: the ground truth, in pixels.
            ignored: has no effect.
            info: `cls_scores` and `img_shape`.
        """
        cls_scores, img_shape = required(info.cls_scores, 'cls_scores'), required(info.img_shape, 'img_shape')
        matched = self.match_batch(cls_scores[None, None], bboxes[None, None], [gts], [img_shape])
        return Assignment.from_gt_inds(matched[0, 0], bboxes.new_zeros(len(bboxes), dtype=torch.float32), gts)
