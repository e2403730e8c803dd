"""Training targets of RTMDet, arXiv:2212.07784."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mmkit.models.dense_heads.point.rtmdet_settings import RTMDetTraining
from mmkit.structures import Instances, PriorInfo


class RTMDetTargets(NamedTuple):
    """Training targets of the N points of all levels, for B images."""

    labels: Tensor  # (B, N) int64, the background is `num_classes`
    label_weights: Tensor  # (B, N)
    quality: Tensor  # (B, N) IoU of the prediction and its object, 0 where there is none
    gt_inds: Tensor  # (B, N) int64, the object in its image, -1 where there is none


@torch.no_grad()
def rtmdet_targets(
    settings: RTMDetTraining,
    points: Tensor,
    logits: Tensor,
    bboxes: Tensor,
    valid: Tensor,
    gts: Sequence[Instances],
) -> RTMDetTargets:
    """Targets from what is predicted now.

    Args:
        points: (N, 4) x, y, stride_w, stride_h.
        logits: (B, N, C).
        bboxes: (B, N, 4), in pixels.
        valid: (B, N) bool, points on the image with its padding; the others learn nothing.
    """
    num_classes = logits.shape[-1]
    labels = torch.full(valid.shape, num_classes, dtype=torch.long, device=valid.device)
    quality, gt_inds = torch.zeros_like(valid, dtype=torch.float32), torch.full_like(labels, -1)
    for image, objects in enumerate(gts):
        rows = valid[image].nonzero().squeeze(1)
        own = logits[image][rows]
        info = PriorInfo(points=points[rows], cls_scores=own, scores=own.sigmoid())
        assignment = settings.assigner.assign(bboxes[image][rows], objects, info=info)
        matched = assignment.gt_inds >= 0
        rows = rows[matched]
        gt_inds[image, rows] = assignment.gt_inds[matched]
        quality[image, rows] = assignment.max_overlaps[matched]
        if assignment.labels is not None:
            labels[image, rows] = assignment.labels[matched]
    label_weights = valid.float()
    if settings.pos_weight > 0:
        label_weights[gt_inds >= 0] = settings.pos_weight
    return RTMDetTargets(labels, label_weights, quality, gt_inds)
