"""Training targets of RTMDet, arXiv:2212.07784."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from typing_extensions import Self

from mmkit.errors import InvalidValueError
from mmkit.models.settings import build_assigner, known_settings
from mmkit.protocols import Assigner
from mmkit.registry import Cfg, located
from mmkit.structures import Instances, PriorInfo


@dataclass(frozen=True)
class RTMDetTraining:
    """`train_cfg` of RTMDet's heads.

    Attributes:
        assigner: matches predictions with objects, such as a `DynamicSoftLabelAssigner`.
        allowed_border: must be negative, as points do not stick out of an image.
        pos_weight: weight of positive points in the classification loss; up to 0: 1.
    """

    assigner: Assigner
    allowed_border: float = -1
    pos_weight: float = -1

    @classmethod
    def from_cfg(cls, cfg: Cfg, head: str) -> Self:
        """Read a config for the head of this name; see `build_assigner`.

        Raises:
            InvalidValueError: if `allowed_border` is not negative.
        """
        with located(cfg):
            given = known_settings(cfg, cls, 'train_cfg')
            given['assigner'] = build_assigner(given['assigner'], head, ['points', 'cls_scores', 'scores'])
            settings = cls(**given)
            if settings.allowed_border >= 0:
                raise InvalidValueError(
                    f'{head} has points, which do not stick out: allowed_border is -1, got {settings.allowed_border}',
                    key='allowed_border',
                )
            return settings


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
