"""Sides of a box as buckets of a prior, and offsets from these."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mmkit.bbox.boxes import bbox_centers, clip_bboxes
from mmkit.errors import InvalidValueError
from mmkit.registry import BBOX_CODERS


@BBOX_CODERS.register_module()
class BucketingBBoxCoder:
    """Regression targets of side-aware boundary localization (SABL, arXiv:1912.04260).

    The scaled prior is cut into `num_buckets` in both directions. Each side of a box looks for its bucket in the half
    of the prior that it belongs to, S = ceil(num_buckets / 2) buckets from outside to inside, and is off the middle of
    that by a part of a bucket. Predictions and targets are (N, 8 * S): for the left, right, top and bottom side
    first S scores each, then S offsets each.

    Args:
        num_buckets: across the whole prior.
        scale_factor: of the prior.
        offset_topk: so many buckets nearest to a side learn their offsets.
        offset_upperbound: all but the nearest only if they are nearer than this, in buckets.
        cls_ignore_neighbor: buckets that a side is less than one bucket off, but for the nearest, are no negatives.
        clip_border: clip decoded boxes to the image, where `decode` knows its shape.

    Attributes:
        side_num: S.
    """

    def __init__(
        self,
        num_buckets: int,
        scale_factor: float,
        offset_topk: int = 2,
        offset_upperbound: float = 1.0,
        cls_ignore_neighbor: bool = True,
        clip_border: bool = True,
    ) -> None:
        self.num_buckets = num_buckets
        self.scale_factor = scale_factor
        self.offset_topk = offset_topk
        self.offset_upperbound = offset_upperbound
        self.cls_ignore_neighbor = cls_ignore_neighbor
        self.clip_border = clip_border
        self.side_num = math.ceil(num_buckets / 2)
        if not 1 <= offset_topk <= self.side_num:
            message = f'offset_topk must be within 1 .. {self.side_num} buckets of a side, got {offset_topk}'
            raise InvalidValueError(message, key='offset_topk')

    def encode(self, bboxes: Tensor, gt_bboxes: Tensor) -> Tensor:
        """(N, 8 * S) targets of priors (N, 4) for boxes (N, 4)."""
        return self.encode_weighted(bboxes, gt_bboxes)[0]

    def encode_weighted(self, bboxes: Tensor, gt_bboxes: Tensor) -> tuple[Tensor, Tensor]:
        """Targets (N, 8 * S) of priors (N, 4) for boxes (N, 4), and what each counts, (N, 8 * S) 0 or 1."""
        middles, width = self._buckets(bboxes)
        sides = gt_bboxes[:, [0, 2, 1, 3], None]  # (N, 4, 1) left, right, top, bottom
        offsets = (middles - sides) / width  # (N, 4, S) in buckets
        distances, nearest = offsets.abs().topk(self.offset_topk, dim=2, largest=False)  # (N, 4, topk)
        near_enough = (distances < self.offset_upperbound).float()
        near_enough[..., 0] = 1.0
        offset_weights = torch.zeros_like(offsets).scatter(2, nearest, near_enough)
        buckets = torch.zeros_like(offsets).scatter(2, nearest[..., :1], 1.0)
        weights = torch.ones_like(buckets)
        if self.cls_ignore_neighbor:
            weights[(offsets.abs() < 1) & (buckets == 0)] = 0.0
        targets = torch.cat([buckets.flatten(1), offsets.flatten(1)], dim=1)
        return targets, torch.cat([weights.flatten(1), offset_weights.flatten(1)], dim=1)

    def decode(self, bboxes: Tensor, pred_bboxes: Tensor, max_shape: Sequence[int] | None = None) -> Tensor:
        """(N, 4) boxes from priors (N, 4) and predictions (N, 8 * S); `max_shape` is (height, width)."""
        scores, offsets = self.split(pred_bboxes)
        best = scores.argmax(dim=2, keepdim=True)  # (N, 4, 1)
        middles, width = self._buckets(bboxes)
        sides = (middles - offsets * width).gather(2, best).squeeze(2)  # (N, 4) left, right, top, bottom
        decoded = sides[:, [0, 2, 1, 3]]
        return clip_bboxes(decoded, max_shape) if self.clip_border and max_shape is not None else decoded

    def confidence(self, pred_bboxes: Tensor) -> Tensor:
        """(...,) how sure the predictions (..., 8 * S) are of their buckets, mean of the sides.

        It is the probability of the best bucket, and of the second best if that is its neighbour.
        """
        scores, _ = self.split(pred_bboxes)
        probabilities, buckets = scores.softmax(dim=-1).topk(2, dim=-1)  # (..., 4, 2)
        neighbours = (buckets[..., 0] - buckets[..., 1]).abs() == 1
        return (probabilities[..., 0] + probabilities[..., 1] * neighbours).mean(dim=-1)

    def split(self, pred_bboxes: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and offsets (..., 4, S) of predictions (..., 8 * S)."""
        scores, offsets = pred_bboxes.unflatten(-1, (2, 4, self.side_num)).unbind(dim=-3)
        return scores, offsets

    def _buckets(self, bboxes: Tensor) -> tuple[Tensor, Tensor]:
        """Middles (N, 4, S) of the buckets of each side, and their widths (N, 4, 1), in pixels."""
        sizes = (bboxes[:, 2:] - bboxes[:, :2]) * self.scale_factor  # (N, 2)
        low = bbox_centers(bboxes) - sizes / 2
        width = sizes / self.num_buckets
        steps = 0.5 + torch.arange(self.side_num, device=bboxes.device)  # (S,)
        from_low = low[..., None] + steps * width[..., None]  # (N, 2, S)
        from_high = (low + sizes)[..., None] - steps * width[..., None]
        middles = torch.stack([from_low, from_high], dim=2).flatten(1, 2)  # (N, 4, S)
        return middles, width.repeat_interleave(2, dim=1)[..., None]
