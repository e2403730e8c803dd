"""Head with scores and deltas of every anchor: the base of RPN and RetinaNet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from mmkit.models.dense_heads.anchor.base_anchor_head import AnchorTargets, AnchorTraining, BaseAnchorHead
from mmkit.models.dense_heads.anchor.prime_training import PrimeTraining, attend_to_prime
from mmkit.models.dense_heads.base_dense_head import OutsT
from mmkit.models.dense_heads.detections import LevelPredictions
from mmkit.models.dense_heads.levels import featmap_sizes, flatten_levels, level_numbers
from mmkit.models.losses import loss_by_level
from mmkit.registry import HEADS
from mmkit.structures import Batch


class AnchorOuts(NamedTuple):
    """Raw predictions of each level: scores (B, A*C, H, W) and box deltas (B, A*4, H, W)."""

    cls_scores: list[Tensor]
    bbox_preds: list[Tensor]


# The Ascend variant of mmdetection is for another processor and computes the same.
@HEADS.register_module(['AnchorHead', 'AscendAnchorHead'])
class AnchorHead(BaseAnchorHead[AnchorOuts]):
    """Scores and deltas of every anchor, by one 1x1 convolution each (Faster R-CNN, arXiv:1506.01497).

    Args:
        train_cfg: see `PrimeTraining`.

    Others as in `BaseAnchorHead`.
    """

    training_settings: ClassVar[type[AnchorTraining]] = PrimeTraining
    in_channels: int

    def _init_layers(self) -> None:
        self.conv_cls = nn.Conv2d(self.in_channels, self.num_base_priors * self.cls_out_channels, 1)
        self.conv_reg = nn.Conv2d(self.in_channels, self.num_base_priors * 4, 1)

    def forward(self, feats: Sequence[Tensor]) -> AnchorOuts:
        """Features (B, in_channels, H, W) of each level -> scores (B, A*C, H, W) and deltas (B, A*4, H, W)."""
        pairs = [self.forward_single(feat) for feat in feats]
        return AnchorOuts([scores for scores, _ in pairs], [deltas for _, deltas in pairs])

    def forward_single(self, feat: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and deltas of one level."""
        return self.conv_cls(feat), self.conv_reg(feat)

    def loss(self, outs: AnchorOuts, batch: Batch) -> dict[str, Tensor]:
        return losses_of(self, outs, batch)

    def level_predictions(self, outs: AnchorOuts) -> list[LevelPredictions]:
        return self.anchor_predictions(*outs)


def losses_of(head: BaseAnchorHead[AnchorOuts], outs: AnchorOuts, batch: Batch) -> dict[str, Tensor]:
    """Losses of classes and boxes, and what a `PrimeTraining` adds to them."""
    cls_scores, bbox_preds = outs
    levels = head.anchors(cls_scores)
    anchors = torch.cat(levels)  # (N, 4)
    targets = head.targets(anchors, featmap_sizes(cls_scores), batch)
    scores = flatten_levels(cls_scores, head.cls_out_channels).float()  # (B, N, C)
    deltas = flatten_levels(bbox_preds, 4).float()  # (B, N, 4)
    targets, further = attend_to_prime(head, scores, deltas, anchors, targets)
    losses = anchor_losses(head, scores, deltas, anchors, level=level_numbers(levels), targets=targets)
    return losses | further


def anchor_losses(
    head: BaseAnchorHead[OutsT],
    scores: Tensor,
    deltas: Tensor,
    anchors: Tensor,
    level: Tensor,
    targets: AnchorTargets,
) -> dict[str, Tensor]:
    """Losses of classes and boxes.

    Args:
        head: its losses, its coder and the way it samples.
        scores: (B, N, C) logits.
        deltas: (B, N, 4) raw boxes.
        anchors: (N, 4) of all levels, or (B, N, 4) where each image has its own.
        level: (N,) of the anchors.
        targets: of the anchors.
    """
    avg_factor = head.avg_factor(targets)
    positive = targets.labels < head.num_classes  # (B, N) with P positives
    boxes = head.positive_boxes(deltas, anchors, positive)  # (P, 4)
    level = level.expand_as(positive)  # (B, N)
    loss_cls = loss_by_level(
        head.loss_cls,
        level.flatten(),
        scores.flatten(0, 1),
        targets.labels.flatten(),
        weight=targets.label_weights.flatten(),
        avg_factor=avg_factor,
    )
    loss_bbox = loss_by_level(
        head.loss_bbox, level[positive], boxes, targets.bbox_targets[positive], avg_factor=avg_factor
    )
    return dict(loss_cls=loss_cls, loss_bbox=loss_bbox)
