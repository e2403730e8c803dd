"""Selection of distinct queries: NMS keeps those that are no near copies of better ones (DDQ, arXiv:2303.12776)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmkit.bbox.boxes import cxcywh_to_xyxy
from mmkit.ops.nms import batched_nms
from mmkit.registry import Cfg


@torch.no_grad()
def distinct(scores: Tensor, boxes: Tensor, nms: Cfg, among: Tensor | None = None) -> Tensor:
    """(B, N) bool: which of scored boxes (B, N, 4), cx cy w h, NMS keeps.

    Args:
        scores: (B, N) in 0..1.
        nms: config of the NMS.
        among: (B, N) bool, the boxes that take part; None: all.
    """
    if among is not None:
        scores = torch.where(among, scores, -1.0)  # behind all others, so that they suppress none
    kept = torch.zeros_like(scores, dtype=torch.bool)
    for row, image_scores, image_boxes in zip(kept, scores, cxcywh_to_xyxy(boxes), strict=True):
        one_class = torch.zeros_like(image_scores)
        row[batched_nms(image_boxes, image_scores, one_class, nms, class_agnostic=True)[1]] = True
    return kept if among is None else kept & among


class DistinctQueries:
    """Attention masks of each layer, in which queries that are no longer distinct see only the distinct ones.

    Args:
        attn_mask: (N, N) bool of the first layer, True where a query must not look.
        chosen: the place of the Q queries that are selected from among the N.
        cls_branches: of each layer, by which queries are ranked.
        nms: config of the NMS.
        num_heads: of the self attention.

    Attributes:
        counted: (B, Q) bool of each layer: the queries of which there are losses and detections. They are those that
            the first query sees, as in mmdetection: the distinct ones, but all if the first is one of them.
    """

    def __init__(self, attn_mask: Tensor, chosen: slice, cls_branches: nn.ModuleList, nms: Cfg, num_heads: int) -> None:
        self.attn_mask = attn_mask
        self.chosen = chosen
        self.cls_branches = cls_branches
        self.nms = nms
        self.num_heads = num_heads
        self.counted: list[Tensor] = []

    @torch.no_grad()
    def __call__(self, index: int, query: Tensor, references: Tensor) -> Tensor:
        """Attention mask (B * heads, N, N) of a layer, or (N, N), from queries (B, N, C) and boxes (B, N, 4)."""
        query, boxes = query[:, self.chosen], references[:, self.chosen]
        if not index:
            self.counted.append(torch.ones(query.shape[:2], dtype=torch.bool, device=query.device))
            return self.attn_mask
        scores = self.cls_branches[index - 1](query).sigmoid().amax(-1)
        copies = ~distinct(scores, boxes, self.nms, among=self.counted[-1])
        hidden = copies[:, :, None] & copies[:, None]  # (B, Q, Q)
        self.counted.append(~hidden[:, 0])
        attn_mask = self.attn_mask.repeat(len(query), 1, 1)
        attn_mask[:, self.chosen, self.chosen] = hidden
        return attn_mask.repeat_interleave(self.num_heads, dim=0)
