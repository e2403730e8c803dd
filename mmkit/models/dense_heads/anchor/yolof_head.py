"""YOLOF's head, arXiv:2103.09460."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from mmkit.bbox.assigners import UniformAssignment
from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.layers import ConvModule
from mmkit.models.dense_heads.anchor.anchor_head import AnchorOuts
from mmkit.models.dense_heads.anchor.base_anchor_head import AnchorHeadArgs, BaseAnchorHead
from mmkit.models.dense_heads.detections import LevelPredictions
from mmkit.models.dense_heads.levels import featmap_sizes, flatten_levels, shared_factor
from mmkit.models.settings import required
from mmkit.registry import HEADS, Cfg
from mmkit.structures import Batch, ImageMeta, Instances, PriorInfo
from mmkit.structures.assignment import BACKGROUND


class YOLOFTargets(NamedTuple):
    """Training targets of the N anchors of one image, and M pairs of an anchor and an object whose boxes are compared.

    A box may be in several pairs.
    """

    labels: Tensor  # (N,) int64, C for the background, -1 for anchors that are ignored
    pos_inds: Tensor  # (M,) anchors
    pos_weights: Tensor  # (M,) 1 or 0
    pos_gt_bboxes: Tensor  # (M, 4)


@HEADS.register_module()
class YOLOFHead(BaseAnchorHead[AnchorOuts]):
    """Scores and deltas of the anchors on one map; an objectness that boxes learn with lowers the scores.

    Args:
        num_cls_convs, num_reg_convs: 3x3 convolutions of the two branches.
        norm_cfg: kind of the norm after them.

    Others as in `BaseAnchorHead`; the assigner of `train_cfg` is a `UniformAssigner`, and classes are sigmoids.

    Raises:
        InvalidValueError: for classes with a softmax.
    """

    defaults = AnchorHeadArgs(
        reg_decoded_bbox=True,
        init_cfg=dict(
            type='Normal',
            layer='Conv2d',
            std=0.01,
            override=dict(type='Normal', name='cls_score', std=0.01, bias_prob=0.01),
        ),
    )
    takes_sampler = False
    known_info = ('bbox_preds',)
    in_channels: int

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        num_cls_convs: int = 2,
        num_reg_convs: int = 4,
        norm_cfg: Cfg | None = dict(type='BN', requires_grad=True),
        **kwargs: Unpack[AnchorHeadArgs],
    ) -> None:
        self.num_cls_convs = num_cls_convs
        self.num_reg_convs = num_reg_convs
        self.norm_cfg = norm_cfg
        super().__init__(num_classes, in_channels, **(self.defaults | kwargs))
        if not self.use_sigmoid_cls:
            raise InvalidValueError('YOLOFHead: loss_cls must be of sigmoids', key='loss_cls')

    def _init_layers(self) -> None:
        def branch(count: int) -> nn.Sequential:
            width = self.in_channels
            return nn.Sequential(
                *(ConvModule(width, width, 3, padding=1, norm_cfg=self.norm_cfg) for _ in range(count))
            )

        def predictor(channels: int) -> nn.Conv2d:
            return nn.Conv2d(self.in_channels, self.num_base_priors * channels, 3, padding=1)

        self.cls_subnet, self.bbox_subnet = branch(self.num_cls_convs), branch(self.num_reg_convs)
        self.cls_score, self.bbox_pred = predictor(self.cls_out_channels), predictor(4)
        self.object_pred = predictor(1)

    def forward(self, feats: Sequence[Tensor]) -> AnchorOuts:
        """Features (B, in_channels, H, W) of each level -> scores (B, A*C, H, W) and deltas (B, A*4, H, W)."""
        outs = AnchorOuts([], [])
        for feat in feats:
            scores = self.cls_score(self.cls_subnet(feat))
            reg_feat = self.bbox_subnet(feat)
            outs.cls_scores.append(with_objectness(scores, self.object_pred(reg_feat)))
            outs.bbox_preds.append(self.bbox_pred(reg_feat))
        return outs

    # ------------------------------------------------------------------ training

    def loss(self, outs: AnchorOuts, batch: Batch) -> dict[str, Tensor]:
        assert batch.gts is not None
        anchors = torch.cat(self.anchors(outs.cls_scores))  # (N, 4)
        scores = flatten_levels(outs.cls_scores, self.cls_out_channels).float()  # (B, N, C)
        deltas = flatten_levels(outs.bbox_preds, 4).float()  # (B, N, 4)
        boxes = self.bbox_coder.decode(anchors.expand_as(deltas), deltas)  # (B, N, 4)
        sizes = featmap_sizes(outs.cls_scores)
        images = zip(boxes, batch.gts, batch.ignored_regions, batch.metas, strict=True)
        targets = [self.image_targets(anchors, sizes, *image) for image in images]
        labels = torch.stack([each.labels for each in targets])  # (B, N)
        positive = (labels >= 0) & (labels < self.num_classes)
        num_pos = shared_factor(positive.sum(dim=1).clamp(min=1).sum(), anchors)
        counted = labels >= 0
        preds = torch.cat([image[each.pos_inds] for image, each in zip(boxes, targets, strict=True)])
        return dict(
            loss_cls=self.loss_cls(scores[counted], labels[counted], avg_factor=num_pos),
            loss_bbox=self.loss_bbox(
                preds,
                torch.cat([each.pos_gt_bboxes for each in targets]),
                torch.cat([each.pos_weights for each in targets]),
                avg_factor=num_pos,
            ),
        )

    @torch.no_grad()
    def image_targets(
        self,
        anchors: Tensor,
        sizes: Sequence[tuple[int, int]],
        preds: Tensor,
        gts: Instances,
        ignored: Tensor | None,
        meta: ImageMeta,
    ) -> YOLOFTargets:
        """Targets of one image, from anchors (N, 4) on levels of `sizes` and predicted boxes (N, 4)."""
        settings = required(self.train_cfg, 'train_cfg', self)
        inds = torch.cat(self.inside(anchors, sizes, meta, settings)).nonzero().squeeze(1)
        assignment = settings.assigner.assign(anchors[inds], gts, ignored, PriorInfo(bbox_preds=preds[inds]))
        if not isinstance(assignment, UniformAssignment):
            kind = type(settings.assigner).__name__
            raise InvalidTypeError(f'YOLOFHead needs a UniformAssigner, got {kind}', key='assigner')
        assert assignment.labels is not None
        labels = torch.full((len(anchors),), -1, dtype=torch.long, device=anchors.device)
        labels[inds] = torch.where(assignment.gt_inds == BACKGROUND, self.num_classes, assignment.labels)
        used = assignment.pos_is_used.to(preds.dtype)
        return YOLOFTargets(labels, inds[assignment.pos_inds], used, assignment.pos_gt_bboxes)

    # ------------------------------------------------------------------ prediction

    def level_predictions(self, outs: AnchorOuts) -> list[LevelPredictions]:
        return self.anchor_predictions(*outs)


def with_objectness(scores: Tensor, objectness: Tensor) -> Tensor:
    """Logits (B, A*C, H, W) of the product of the probabilities of classes (B, A*C, H, W) and objects (B, A, H, W)."""
    batch, channels, height, width = scores.shape
    scores = scores.reshape(batch, objectness.shape[1], -1, height, width)
    objects = objectness[:, :, None]
    both = scores + objects - torch.logaddexp(torch.logaddexp(torch.zeros_like(scores), scores), objects)
    return both.reshape(batch, channels, height, width)
