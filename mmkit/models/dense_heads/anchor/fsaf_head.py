"""Feature selective anchor-free module, arXiv:1903.00621."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import Unpack

from mmkit.bbox.assigners import ShadowedAssignment
from mmkit.errors import InvalidValueError
from mmkit.models.dense_heads.anchor.anchor_head import AnchorOuts
from mmkit.models.dense_heads.anchor.base_anchor_head import AnchorHeadArgs, AnchorTargets, AnchorTraining
from mmkit.models.dense_heads.anchor.retina_head import RetinaHead
from mmkit.models.dense_heads.levels import featmap_sizes, flatten_levels, level_numbers, probabilities
from mmkit.models.losses import accuracy
from mmkit.registry import HEADS, Cfg
from mmkit.structures import Batch, ImageMeta, Instances
from mmkit.structures.assignment import BACKGROUND

_LEAST_DISTANCE = 1e-4  # in the loss, so that no box is empty


@HEADS.register_module()
class FSAFHead(RetinaHead):
    """RetinaNet's towers with one box a cell; an object learns on the level where its loss is least.

    Args:
        score_threshold: in the logged recall, the class must score above it; None: be the best.

    Others as in `RetinaHead`; the anchors are the cells.
    """

    training_settings: ClassVar[type[AnchorTraining]] = AnchorTraining
    takes_sampler = False

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        stacked_convs: int = 4,
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg | None = None,
        score_threshold: float | None = None,
        **kwargs: Unpack[AnchorHeadArgs],
    ) -> None:
        self.score_threshold = score_threshold
        if kwargs.get('init_cfg') is None:
            override = [
                dict(type='Normal', name='retina_cls', std=0.01, bias_prob=0.01),
                dict(type='Normal', name='retina_reg', std=0.01, bias=0.25),
            ]
            kwargs['init_cfg'] = dict(type='Normal', layer='Conv2d', std=0.01, override=override)
        super().__init__(num_classes, in_channels, stacked_convs, conv_cfg, norm_cfg, **kwargs)
        if not self.use_sigmoid_cls:
            raise InvalidValueError('FSAFHead weights classes one by one: loss_cls needs use_sigmoid=True', 'loss_cls')

    def forward_single(self, feat: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and distances of one level; these are not negative."""
        scores, distances = super().forward_single(feat)
        return scores, distances.relu()

    def loss(self, outs: AnchorOuts, batch: Batch) -> dict[str, Tensor]:
        """Losses, and for the log the positives of an image (`num_pos`) and how many are classified (`pos_recall`)."""
        cls_scores, bbox_preds = outs
        levels = self.anchors(cls_scores)
        anchors = torch.cat(levels)  # (N, 4)
        targets = self.targets(anchors, featmap_sizes(cls_scores), batch)
        scores = flatten_levels(cls_scores, self.cls_out_channels).float()  # (B, N, C)
        distances = flatten_levels(bbox_preds, 4).float().clamp(min=_LEAST_DISTANCE)  # (B, N, 4)

        positive = targets.labels < self.num_classes  # (B, N) with P positives
        labels, objects = targets.labels[positive], targets.objects[positive]
        cls_losses = self.loss_cls(
            scores.flatten(0, 1),
            targets.labels.flatten(),
            targets.label_weights.flatten(0, 1),
            reduction_override='none',
        ).view_as(scores)
        box_losses = self.loss_bbox(
            self.positive_boxes(distances, anchors, positive),
            targets.bbox_targets[positive],
            reduction_override='none',
        )
        if box_losses.ndim > 1:
            box_losses = box_losses.sum(dim=1)  # (P,)
        level = level_numbers(levels).expand_as(positive)[positive]  # (P,)
        chosen = easiest_level((cls_losses[positive].sum(dim=1) + box_losses).detach(), objects, level) == level

        dropped = torch.zeros_like(scores, dtype=torch.bool)
        images, inds = positive.nonzero()[~chosen].unbind(1)
        dropped[images, inds, labels[~chosen]] = True
        num_pos = chosen.sum()
        avg_factor = torch.where(num_pos > 0, num_pos, targets.num_neg)
        recall = accuracy(
            probabilities(scores[positive][chosen], self.use_sigmoid_cls), labels[chosen], thresh=self.score_threshold
        )
        return dict(
            loss_cls=cls_losses.masked_fill(dropped, 0).sum() / avg_factor,
            loss_bbox=(box_losses * chosen).sum() / avg_factor,
            num_pos=num_pos.float() / len(batch),
            pos_recall=recall,
        )

    def _image_targets(
        self,
        anchors: Tensor,
        sizes: Sequence[tuple[int, int]],
        gts: Instances,
        ignored: Tensor | None,
        meta: ImageMeta,
        settings: AnchorTraining,
    ) -> AnchorTargets:
        """Targets of one image; `label_weights` are (N, C), those of shadowed classes 0."""
        inds = torch.cat(self.inside(anchors, sizes, meta, settings)).nonzero().squeeze(1)
        assignment = settings.assigner.assign(anchors[inds], gts, ignored)
        matched, background = assignment.gt_inds >= 0, assignment.gt_inds == BACKGROUND
        targets = self._matched_targets(
            anchors, inds[matched], inds[background], gts, gt_inds=assignment.gt_inds[matched], settings=settings
        )
        label_weights = targets.label_weights[:, None].repeat(1, self.cls_out_channels)
        if isinstance(assignment, ShadowedAssignment):
            label_weights[inds[assignment.shadowed[:, 0]], assignment.shadowed[:, 1]] = 0
        return targets._replace(label_weights=label_weights)


def easiest_level(losses: Tensor, objects: Tensor, levels: Tensor) -> Tensor:
    """(P,) the level on which the object of each positive has the least mean loss.

    Args:
        losses: (P,).
        objects: (P,) int64 number of the object of each.
        levels: (P,) int64.
    """
    if not len(objects):
        return levels
    shape = (int(levels.max()) + 1, int(objects.max()) + 1)  # of levels and objects
    pairs = levels * shape[1] + objects
    sums, counts = (
        losses.new_zeros(shape[0] * shape[1]).index_add(0, pairs, each) for each in (losses, torch.ones_like(losses))
    )
    means = torch.where(counts > 0, sums / counts, float('inf')).view(shape)
    return means.argmin(dim=0)[objects]
