"""Prime sample attention (arXiv:1904.04821) in heads with anchors."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from typing_extensions import Self

from mmkit.bbox import bbox_overlaps
from mmkit.models.dense_heads.anchor.base_anchor_head import AnchorTargets, AnchorTraining, BaseAnchorHead
from mmkit.models.dense_heads.base_dense_head import OutsT
from mmkit.models.losses.prime_samples import RankWeights, carl_from, carl_loss, isr_from, isr_weights
from mmkit.registry import Cfg


@dataclass(frozen=True, kw_only=True)
class PrimeTraining(AnchorTraining):
    """`train_cfg` of a head that may weight prime samples.

    Attributes:
        isr: weights of positives in the classification loss, by the rank of their IoU; None: no such weights.
        carl: weights of a further box loss, by the probability of the class; None: no such loss.

    Others as in `AnchorTraining`.
    """

    isr: RankWeights | None = None
    carl: RankWeights | None = None

    @classmethod
    def from_cfg(cls, cfg: Cfg, head: str, known: Collection[str] = (), takes_sampler: bool = True) -> Self:
        settings = super().from_cfg(cfg, head, known, takes_sampler)
        return replace(settings, isr=isr_from(cfg), carl=carl_from(cfg))


def attend_to_prime(
    head: BaseAnchorHead[OutsT], scores: Tensor, deltas: Tensor, anchors: Tensor, targets: AnchorTargets
) -> tuple[AnchorTargets, dict[str, Tensor]]:
    """Targets with the weights of `isr`, and the loss of `carl`, where the head's `train_cfg` asks for them.

    Args:
        head: its losses, its coder, its settings.
        scores: (B, N, C) logits.
        deltas: (B, N, 4) raw boxes.
        anchors: (N, 4).
        targets: of the anchors.
    """
    settings = head.train_cfg
    if not isinstance(settings, PrimeTraining) or (settings.isr is None and settings.carl is None):
        return targets, {}
    positive = targets.labels < head.num_classes  # (B, N) with P positives
    labels, pos_scores = targets.labels[positive], scores[positive]
    losses = {}
    if settings.carl is not None:
        boxes = head.positive_boxes(deltas, anchors, positive)
        box_losses = head.loss_bbox(boxes, targets.bbox_targets[positive], reduction_override='none')
        probabilities = pos_scores.sigmoid() if head.use_sigmoid_cls else pos_scores.softmax(dim=1)
        of_class = probabilities[torch.arange(len(labels), device=labels.device), labels]
        losses['loss_carl'] = carl_loss(settings.carl, of_class, box_losses) / targets.num_pos
    if settings.isr is None:
        return targets, losses
    with torch.no_grad():
        pos_anchors = anchors.expand_as(deltas)[positive]
        gts = targets.bbox_targets[positive]
        if not head.reg_decoded_bbox:
            gts = head.bbox_coder.decode(pos_anchors, gts)
        cls_losses = head.loss_cls(pos_scores, labels, reduction_override='none')
        pos_weights = isr_weights(
            settings.isr,
            ious=bbox_overlaps(head.bbox_coder.decode(pos_anchors, deltas[positive]), gts, is_aligned=True),
            labels=labels,
            objects=targets.objects[positive],
            weights=targets.label_weights[positive],
            losses=cls_losses[:, None].flatten(1).sum(dim=1),
        )
    weights = targets.label_weights.masked_scatter(positive, pos_weights)
    return targets._replace(label_weights=weights), losses
