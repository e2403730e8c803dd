"""The head that scores and refines anchors: base of RPN, RetinaNet, SSD, ATSS."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.bbox import Assignment
from mmkit.bbox.samplers import PseudoSampler
from mmkit.layers import BaseModule
from mmkit.models.dense_heads.levels import (
    PostProcessing,
    detect,
    featmap_sizes,
    flatten_level,
    flatten_levels,
)
from mmkit.models.dense_heads.training_settings import dense_assigner, dense_sampler, refuse_sampler
from mmkit.models.settings import warn_unknown_settings
from mmkit.registry import BBOX_CODERS, HEADS, LOSSES, PRIOR_GENERATORS, build_from_cfg
from mmkit.structures import Batch, ImageMeta, Instances

# Losses that weigh easy examples down themselves and so want all anchors, not a sample of them.
DENSE_LOSSES = ('FocalLoss', 'GHMC', 'QualityFocalLoss')
# Losses that keep statistics of a call: the recorded numbers are those of one call per level.
PER_LEVEL_LOSSES = ('GHMC', 'GHMR')


@dataclass
class AnchorTargets:
    """What the anchors of a batch should say. N anchors over all levels; background has the label `num_classes`."""

    labels: Tensor  # (B, N) int64
    label_weights: Tensor  # (B, N)
    bbox_targets: Tensor  # (B, N, 4)
    bbox_weights: Tensor  # (B, N, 4)
    num_pos: int  # at least 1 per image
    num_neg: int  # at least 1 per image


def inside_image(anchors: Tensor, valid: Tensor, img_shape: tuple[int, int], allowed_border: float) -> Tensor:
    """(N,) bool: anchors on valid cells that stick out of the image by less than `allowed_border` (-1: any)."""
    if allowed_border < 0:
        return valid
    height, width = img_shape[:2]
    low = (anchors[:, :2] >= -allowed_border).all(dim=1)
    high = (anchors[:, 2:] < anchors.new_tensor([width + allowed_border, height + allowed_border])).all(dim=1)
    return valid & low & high


# mmdetection has the Ascend kind for another processor; it computes the same.
@HEADS.register_module(['AnchorHead', 'AscendAnchorHead'])
class AnchorHead(BaseModule):
    """Classifies anchors and regresses boxes from them (Faster R-CNN's RPN, arXiv:1506.01497).

    Args:
        num_classes: C, without background.
        in_channels: channels of every input level.
        feat_channels: channels of hidden layers.
        anchor_generator, bbox_coder, loss_cls, loss_bbox: configs or built objects.
        reg_decoded_bbox: the box loss compares decoded boxes (for IoU losses) instead of deltas.
        train_cfg: `assigner`, optional `sampler`, `allowed_border`, `pos_weight`.
        test_cfg: see `PostProcessing`.
    """

    train_keys: tuple[str, ...] = ('assigner', 'sampler', 'allowed_border', 'pos_weight')
    takes_sampler = True

    def __init__(
        self,
        num_classes: int,
        in_channels: int | Sequence[int],
        feat_channels: int = 256,
        anchor_generator: Mapping[str, Any] = dict(
            type='AnchorGenerator', scales=[8, 16, 32], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64]
        ),
        bbox_coder: Mapping[str, Any] = dict(
            type='DeltaXYWHBBoxCoder', clip_border=True, target_means=(0.0,) * 4, target_stds=(1.0,) * 4
        ),
        reg_decoded_bbox: bool = False,
        loss_cls: Mapping[str, Any] = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        loss_bbox: Mapping[str, Any] = dict(type='SmoothL1Loss', beta=1.0 / 9.0, loss_weight=1.0),
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        init_cfg: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = dict(
            type='Normal', layer='Conv2d', std=0.01
        ),
    ) -> None:
        super().__init__(init_cfg)
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.feat_channels = feat_channels
        self.reg_decoded_bbox = reg_decoded_bbox
        self.bbox_coder = build_from_cfg(bbox_coder, BBOX_CODERS)
        self.loss_cls = build_from_cfg(loss_cls, LOSSES)
        self.loss_bbox = build_from_cfg(loss_bbox, LOSSES)
        self.use_sigmoid_cls = bool(getattr(self.loss_cls, 'use_sigmoid', False))
        self.cls_out_channels = num_classes if self.use_sigmoid_cls else num_classes + 1
        self.loss_per_level = any(type(x).__name__ in PER_LEVEL_LOSSES for x in (self.loss_cls, self.loss_bbox))
        self.prior_generator = build_from_cfg(anchor_generator, PRIOR_GENERATORS)
        self.num_base_priors = self.prior_generator.num_base_priors[0]
        self.test_cfg = PostProcessing.from_cfg(test_cfg) if test_cfg else None
        if train_cfg:
            self._read_train_cfg(train_cfg)
        self._init_layers()

    def _read_train_cfg(self, train_cfg: Mapping[str, Any]) -> None:
        warn_unknown_settings(train_cfg, self.train_keys, 'train_cfg')
        name, loss = type(self).__name__, type(self.loss_cls).__name__
        self.assigner = dense_assigner(train_cfg, name, may_give=['num_level_bboxes'])
        self.assigns_by_level = 'num_level_bboxes' in signature(self.assigner.assign).parameters
        if not self.takes_sampler:
            refuse_sampler(train_cfg, name)
        self.sampler = dense_sampler(train_cfg, name)
        self.sampling = not isinstance(self.sampler, PseudoSampler)
        if self.sampling and loss in DENSE_LOSSES:
            warnings.warn(f'{name}: {loss} sees all priors, the sampler in train_cfg plays no part', stacklevel=3)
            self.sampler, self.sampling = PseudoSampler(), False
        self.allowed_border = train_cfg.get('allowed_border', -1)
        self.pos_weight = train_cfg.get('pos_weight', -1)

    def _init_layers(self) -> None:
        self.conv_cls = nn.Conv2d(self.in_channels, self.num_base_priors * self.cls_out_channels, 1)
        self.conv_reg = nn.Conv2d(self.in_channels, self.num_base_priors * 4, 1)

    def forward(self, feats: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Features (B, in_channels, H, W) of each level -> their scores (B, A*C, H, W) and deltas (B, A*4, H, W)."""
        pairs = [self.forward_single(feat) for feat in feats]
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs]

    def forward_single(self, feat: Tensor) -> tuple[Tensor, Tensor]:
        return self.conv_cls(feat), self.conv_reg(feat)

    def anchors(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        """(H*W*A, 4) anchors of each level of `outputs`, which may be of lower precision."""
        return self.prior_generator.grid_priors(featmap_sizes(outputs), torch.float32, outputs[0].device)

    # ------------------------------------------------------------------ training

    def loss(self, outs: tuple[list[Tensor], list[Tensor]], batch: Batch) -> dict[str, Tensor]:
        cls_scores, bbox_preds = outs
        levels = self.anchors(cls_scores)
        anchors = torch.cat(levels)  # (N, 4)
        targets = self.targets(anchors, featmap_sizes(cls_scores), batch)
        avg_factor = targets.num_pos + targets.num_neg if self.sampling else targets.num_pos
        scores = flatten_levels(cls_scores, self.cls_out_channels).float()  # (B, N, C)
        deltas = flatten_levels(bbox_preds, 4).float()  # (B, N, 4)

        sizes = [len(level) for level in levels] if self.loss_per_level else [len(anchors)]
        loss_cls, loss_bbox, start = scores.new_zeros(()), scores.new_zeros(()), 0
        for size in sizes:
            span = slice(start, start + size)
            loss_cls = loss_cls + self.loss_cls(
                scores[:, span].reshape(-1, self.cls_out_channels),
                targets.labels[:, span].reshape(-1),
                targets.label_weights[:, span].reshape(-1),
                avg_factor=avg_factor,
            )
            loss_bbox = loss_bbox + self.box_loss(deltas, anchors, targets, span, avg_factor)
            start += size
        return dict(loss_cls=loss_cls, loss_bbox=loss_bbox)

    def box_loss(
        self, deltas: Tensor, anchors: Tensor, targets: AnchorTargets, span: slice, avg_factor: float
    ) -> Tensor:
        """Box loss over the anchors `span`: of the positive ones, since the others weigh nothing."""
        labels = targets.labels[:, span]
        chosen = torch.ones_like(labels, dtype=torch.bool) if self.loss_per_level else labels < self.num_classes
        preds = deltas[:, span][chosen]  # (P, 4)
        if self.reg_decoded_bbox:
            preds = self.bbox_coder.decode(anchors[span].expand(len(labels), -1, -1)[chosen], preds)
        return self.loss_bbox(
            preds, targets.bbox_targets[:, span][chosen], targets.bbox_weights[:, span][chosen], avg_factor=avg_factor
        )

    @torch.no_grad()
    def targets(self, anchors: Tensor, sizes: Sequence[tuple[int, int]], batch: Batch) -> AnchorTargets:
        """Targets of (N, 4) `anchors` on levels of `sizes` for every image of the batch."""
        assert batch.gts is not None
        shape = (len(batch), len(anchors))
        found = AnchorTargets(
            labels=torch.full(shape, self.num_classes, dtype=torch.long, device=anchors.device),
            label_weights=anchors.new_zeros(shape),
            bbox_targets=anchors.new_zeros((*shape, 4)),
            bbox_weights=anchors.new_zeros((*shape, 4)),
            num_pos=0,
            num_neg=0,
        )
        for index, (gts, meta) in enumerate(zip(batch.gts, batch.metas, strict=True)):
            valid = self.prior_generator.valid_flags(sizes, meta.pad_shape, anchors.device)
            inside = inside_image(anchors, torch.cat(valid), meta.img_shape, self.allowed_border)
            ignored = batch.ignored[index] if batch.ignored is not None else None
            self._fill_targets(found, index, anchors, inside.split([len(level) for level in valid]), gts, ignored)
        return found

    def assign(self, anchors: Tensor, gts: Instances, ignored: Tensor | None, inside: Sequence[Tensor]) -> Assignment:
        """Which of the (M, 4) `anchors` belongs to which object; `inside`: (N_l,) bool a level, True for M of them."""
        levels = {'num_level_bboxes': [int(level.sum()) for level in inside]} if self.assigns_by_level else {}
        return self.assigner.assign(anchors, gts, ignored, **levels)

    def _fill_targets(
        self,
        found: AnchorTargets,
        index: int,
        anchors: Tensor,
        inside_levels: Sequence[Tensor],
        gts: Instances,
        ignored: Tensor | None,
    ) -> None:
        """Write the targets of image `index`; `inside_levels`: which anchors take part, (N_l,) bool a level."""
        inside = torch.cat(list(inside_levels)).nonzero().squeeze(1)
        candidates = anchors[inside]
        # A class-agnostic head (RPN) calls every object 0.
        labels = gts.labels if self.num_classes > 1 or gts.labels is None else torch.zeros_like(gts.labels)
        gts = Instances(bboxes=gts.bboxes, labels=labels)
        assignment = self.assign(candidates, gts, ignored, inside_levels)
        samples = self.sampler.sample(assignment, candidates, gts)
        pos, neg = inside[samples.pos_inds], inside[samples.neg_inds]
        found.labels[index, pos] = samples.pos_gt_labels if samples.pos_gt_labels is not None else 0
        found.label_weights[index, pos] = self.pos_weight if self.pos_weight > 0 else 1.0
        found.label_weights[index, neg] = 1.0
        found.bbox_weights[index, pos] = 1.0
        if len(pos):
            found.bbox_targets[index, pos] = (
                samples.pos_gt_bboxes
                if self.reg_decoded_bbox
                else self.bbox_coder.encode(samples.pos_bboxes, samples.pos_gt_bboxes)
            )
        found.num_pos += max(len(pos), 1)
        found.num_neg += max(len(neg), 1)

    # ------------------------------------------------------------------ prediction

    def probabilities(self, scores: Tensor) -> Tensor:
        """(..., cls_out_channels) raw scores -> (..., C) probabilities without background."""
        return scores.sigmoid() if self.use_sigmoid_cls else scores.softmax(dim=-1)[..., : self.num_classes]

    def predict(
        self,
        outs: tuple[list[Tensor], list[Tensor]],
        metas: Sequence[ImageMeta],
        cfg: Mapping[str, Any] | PostProcessing | None = None,
        rescale: bool = True,
    ) -> list[Instances]:
        """Detections of each image; `cfg` overrides the head's `test_cfg`."""
        settings = PostProcessing.from_cfg(cfg if cfg is not None else self.test_cfg)
        cls_scores, bbox_preds = outs
        anchors = self.anchors(cls_scores)
        scores = [self.probabilities(flatten_level(x.detach().float(), self.cls_out_channels)) for x in cls_scores]
        deltas = [flatten_level(x.detach().float(), 4) for x in bbox_preds]
        return self.detections(scores, deltas, anchors, metas, settings, rescale)

    def detections(
        self,
        scores: Sequence[Tensor],
        deltas: Sequence[Tensor],
        anchors: Sequence[Tensor],
        metas: Sequence[ImageMeta],
        cfg: PostProcessing,
        rescale: bool,
        factors: Sequence[Tensor] | None = None,
    ) -> list[Instances]:
        """From probabilities (B, N_l, C), deltas (B, N_l, 4) and anchors (N_l, 4) of each level to detections."""

        def decode(level: int, inds: Tensor, preds: Tensor, img_shape: tuple[int, int]) -> Tensor:
            return self.bbox_coder.decode(anchors[level][inds], preds, img_shape)

        return detect(scores, deltas, decode, metas, cfg, rescale, factors)
