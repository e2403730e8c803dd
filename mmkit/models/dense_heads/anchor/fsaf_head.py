"""Feature selective anchor-free module, arXiv:1903.00621."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from typing_extensions import Unpack

from mmkit.bbox.assigners import ShadowedAssignment
from mmkit.errors import InvalidValueError
from mmkit.models.dense_heads.anchor.anchor_head import AnchorOuts
from mmkit.models.dense_heads.anchor.base_anchor_head import AnchorHeadArgs, AnchorTraining, inside_image
from mmkit.models.dense_heads.anchor.retina_head import RetinaHead
from mmkit.models.dense_heads.levels import featmap_sizes, flatten_levels, probabilities
from mmkit.models.losses import accuracy
from mmkit.models.settings import required
from mmkit.registry import HEADS, Cfg
from mmkit.structures import Batch, ImageMeta, Instances

_LEAST_DISTANCE = 1e-4  # in the loss, so that no box is empty


class FSAFTargets(NamedTuple):
    """Training targets of the N anchors of all levels, for B images. Background has the label `num_classes`."""

    labels: Tensor  # (B, N) int64
    label_weights: Tensor  # (B, N, C)
    bbox_targets: Tensor  # (B, N, 4), zeros where there is no object
    objects: Tensor  # (B, N) int64, the number of the object among those of the batch, -1: none
    num_neg: int  # at least 1 per image


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
        targets = self.fsaf_targets(anchors, featmap_sizes(cls_scores), batch)
        scores = flatten_levels(cls_scores, self.cls_out_channels).float()  # (B, N, C)
        distances = flatten_levels(bbox_preds, 4).float().clamp(min=_LEAST_DISTANCE)  # (B, N, 4)

        positive = targets.objects >= 0  # (B, N) with P positives
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
        level = torch.cat([anchors.new_full((len(each),), i) for i, each in enumerate(levels)]).long()
        level = level.expand_as(positive)[positive]  # (P,)
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

    @torch.no_grad()
    def fsaf_targets(self, anchors: Tensor, sizes: Sequence[tuple[int, int]], batch: Batch) -> FSAFTargets:
        """Targets of the `anchors` (N, 4) on levels of `sizes`."""
        assert batch.gts is not None
        ignored: Sequence[Tensor | None] = batch.ignored or [None] * len(batch)
        images, first = [], 0
        for image, gts in enumerate(batch.gts):
            images.append(self._fsaf_image_targets(anchors, sizes, gts, ignored[image], batch.metas[image], first))
            first += len(gts)
        labels, label_weights, bbox_targets, objects, num_neg = zip(*images, strict=True)
        return FSAFTargets(
            torch.stack(labels),
            torch.stack(label_weights),
            torch.stack(bbox_targets),
            torch.stack(objects),
            sum(num_neg),
        )

    def _fsaf_image_targets(
        self,
        anchors: Tensor,
        sizes: Sequence[tuple[int, int]],
        gts: Instances,
        ignored: Tensor | None,
        meta: ImageMeta,
        first: int,
    ) -> FSAFTargets:
        """Targets of one image, without the dimension B; its objects have the numbers from `first` on."""
        settings = required(self.train_cfg, 'train_cfg', self)
        assert gts.labels is not None
        valid = torch.cat(self.prior_generator.valid_flags(sizes, meta.pad_shape, anchors.device))
        inside = inside_image(anchors, valid, meta.img_shape, settings.allowed_border).nonzero().squeeze(1)
        assignment = settings.assigner.assign(anchors[inside], gts, ignored)
        matched = assignment.gt_inds >= 0
        pos, gt_inds = inside[matched], assignment.gt_inds[matched]
        neg = inside[assignment.gt_inds == -1]
        labels = torch.full((len(anchors),), self.num_classes, dtype=torch.long, device=anchors.device)
        labels[pos] = gts.labels[gt_inds]
        label_weights = anchors.new_zeros(len(anchors), self.cls_out_channels)
        label_weights[pos] = settings.pos_weight if settings.pos_weight > 0 else 1.0
        label_weights[neg] = 1.0
        if isinstance(assignment, ShadowedAssignment):
            label_weights[inside[assignment.shadowed[:, 0]], assignment.shadowed[:, 1]] = 0
        bbox_targets = torch.zeros_like(anchors)
        gt_bboxes = gts.bboxes[gt_inds]
        bbox_targets[pos] = gt_bboxes if self.reg_decoded_bbox else self.bbox_coder.encode(anchors[pos], gt_bboxes)
        objects = torch.full_like(labels, -1)
        objects[pos] = first + gt_inds
        return FSAFTargets(labels, label_weights, bbox_targets, objects, max(len(neg), 1))


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
