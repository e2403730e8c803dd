"""Guided anchoring, arXiv:1901.03278: where an anchor is and what shape it has are predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, TypedDict

import torch
from torch import Tensor, nn

from mmkit.bbox.coders import DeltaXYWHBBoxCoder
from mmkit.errors import InvalidTypeError
from mmkit.layers.init import InitCfg
from mmkit.models.dense_heads.anchor.anchor_head import anchor_losses
from mmkit.models.dense_heads.anchor.approxs import build_approx_generator, cells_inside, grid_approxs
from mmkit.models.dense_heads.anchor.base_anchor_head import AnchorTargets, BaseAnchorHead, inside_image
from mmkit.models.dense_heads.anchor.guided_training import GuidedTraining, location_targets
from mmkit.models.dense_heads.detections import LevelPredictions, PostProcessing, best_priors, detect
from mmkit.models.dense_heads.feature_adaption import FeatureAdaption
from mmkit.models.dense_heads.levels import featmap_sizes, flatten_level, flatten_levels, level_numbers
from mmkit.models.settings import required
from mmkit.registry import BBOX_CODERS, HEADS, LOSSES, Cfg, build_from_cfg
from mmkit.structures import Batch, ImageMeta, Instances, PriorInfo

# Predicted shapes may be far from that of the square.
_SHAPE_CLIP = 1e-6


class GuidedOuts(NamedTuple):
    """Raw predictions of each level.

    Scores (B, C, H, W), deltas (B, 4, H, W) from the guided anchors, shapes (B, 2, H, W) of these (logarithms of
    factors on the sides of the square), and logits of locations (B, 1, H, W).
    """

    cls_scores: list[Tensor]
    bbox_preds: list[Tensor]
    shape_preds: list[Tensor]
    loc_preds: list[Tensor]


class ShapeTargets(NamedTuple):
    """Objects that the predicted shapes are to fit."""

    positive: Tensor  # (B, N) bool, True at P squares
    gt_bboxes: Tensor  # (P, 4)
    avg_factor: int


class GuidedAnchorArgs(TypedDict, total=False):
    """Arguments that heads with guided anchors share; see `GuidedAnchorHead`."""

    feat_channels: int
    approx_anchor_generator: Cfg
    square_anchor_generator: Cfg
    anchor_coder: Cfg
    bbox_coder: Cfg
    reg_decoded_bbox: bool
    deform_groups: int
    loc_filter_thr: float
    train_cfg: Cfg | None
    test_cfg: Cfg | None
    loss_loc: Cfg
    loss_shape: Cfg
    loss_cls: Cfg
    loss_bbox: Cfg
    init_cfg: InitCfg


@HEADS.register_module()
class GuidedAnchorHead(BaseAnchorHead[GuidedOuts]):
    """One anchor a cell, whose shape is predicted; scores and deltas come from features adapted to it.

    Args:
        approx_anchor_generator: several anchors a cell; those that overlap an object say that its cell shall fit it.
        square_anchor_generator: one square a cell, which the predicted shape stretches.
        anchor_coder: from the square to the guided anchor.
        deform_groups: of the convolution that adapts the features.
        loc_filter_thr: at prediction, cells below this probability of a location are left out.
        loss_loc, loss_shape: of locations and of guided anchors.
        train_cfg: see `GuidedTraining`.

    Others as in `BaseAnchorHead`; `bbox_coder` leads from the guided anchor to the box.

    In mmdetection the last convolutions compute at the likely cells only; this one leaves the others out afterwards.
    """

    training_settings = GuidedTraining
    train_cfg: GuidedTraining | None
    in_channels: int

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        *,
        feat_channels: int = 256,
        approx_anchor_generator: Cfg = dict(
            type='AnchorGenerator',
            octave_base_scale=8,
            scales_per_octave=3,
            ratios=[0.5, 1.0, 2.0],
            strides=[4, 8, 16, 32, 64],
        ),
        square_anchor_generator: Cfg = dict(
            type='AnchorGenerator', ratios=[1.0], scales=[8], strides=[4, 8, 16, 32, 64]
        ),
        anchor_coder: Cfg = dict(type='DeltaXYWHBBoxCoder', target_means=(0.0,) * 4, target_stds=(1.0,) * 4),
        bbox_coder: Cfg = dict(type='DeltaXYWHBBoxCoder', target_means=(0.0,) * 4, target_stds=(1.0,) * 4),
        reg_decoded_bbox: bool = False,
        deform_groups: int = 4,
        loc_filter_thr: float = 0.01,
        train_cfg: Cfg | None = None,
        test_cfg: Cfg | None = None,
        loss_loc: Cfg = dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_shape: Cfg = dict(type='BoundedIoULoss', beta=0.2, loss_weight=1.0),
        loss_cls: Cfg = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        loss_bbox: Cfg = dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0),
        init_cfg: InitCfg = dict(
            type='Normal',
            layer='Conv2d',
            std=0.01,
            override=dict(type='Normal', name='conv_loc', std=0.01, bias_prob=0.01),
        ),
    ) -> None:
        self.deform_groups = deform_groups
        self.loc_filter_thr = loc_filter_thr
        super().__init__(
            num_classes=num_classes,
            in_channels=in_channels,
            feat_channels=feat_channels,
            anchor_generator=square_anchor_generator,
            bbox_coder=bbox_coder,
            reg_decoded_bbox=reg_decoded_bbox,
            loss_cls=loss_cls,
            loss_bbox=loss_bbox,
            train_cfg=train_cfg,
            test_cfg=test_cfg,
            init_cfg=init_cfg,
        )
        self.approx_generator = build_approx_generator(approx_anchor_generator, self.prior_generator)
        coder: object = build_from_cfg(anchor_coder, BBOX_CODERS)
        if not isinstance(coder, DeltaXYWHBBoxCoder):
            message = f'{type(self).__name__}: anchor_coder is a DeltaXYWHBBoxCoder, got {type(coder).__name__}'
            raise InvalidTypeError(message, key='anchor_coder')
        self.anchor_coder = coder
        self.loss_loc: nn.Module = build_from_cfg(loss_loc, LOSSES)
        self.loss_shape: nn.Module = build_from_cfg(loss_shape, LOSSES)

    def _init_layers(self) -> None:
        self._guided_layers(self.in_channels)

    def _guided_layers(self, in_channels: int) -> None:
        self.conv_loc = nn.Conv2d(in_channels, 1, 1)
        self.conv_shape = nn.Conv2d(in_channels, 2, 1)
        self.feature_adaption = self._adaption(in_channels)
        self.conv_cls = nn.Conv2d(self.feat_channels, self.cls_out_channels, 1)
        self.conv_reg = nn.Conv2d(self.feat_channels, 4, 1)

    def _adaption(self, in_channels: int) -> FeatureAdaption:
        return FeatureAdaption(in_channels, self.feat_channels, deform_groups=self.deform_groups)

    def forward(self, feats: Sequence[Tensor]) -> GuidedOuts:
        """Features (B, in_channels, H, W) of each level -> scores, deltas, shapes and locations."""
        outs = GuidedOuts([], [], [], [])
        for feat in feats:
            for levels, level in zip(outs, self.forward_single(feat), strict=True):
                levels.append(level)
        return outs

    def forward_single(self, feat: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Scores, deltas, shapes and locations of one level."""
        shape = self.conv_shape(feat)
        adapted = self.feature_adaption(feat, shape.detach())
        return self.conv_cls(adapted), self.conv_reg(adapted), shape, self.conv_loc(feat)

    def guided_anchors(self, squares: Tensor, shapes: Tensor) -> Tensor:
        """(..., 4) anchors from squares (..., 4) and predicted shapes (..., 2)."""
        deltas = torch.cat([torch.zeros_like(shapes), shapes], dim=-1)
        return self.anchor_coder.decode(squares, deltas, wh_ratio_clip=_SHAPE_CLIP)

    # ------------------------------------------------------------------ training

    def loss(self, outs: GuidedOuts, batch: Batch) -> dict[str, Tensor]:
        assert batch.gts is not None
        settings = required(self.train_cfg, 'train_cfg', self)
        sizes = featmap_sizes(outs.cls_scores)
        levels = self.anchors(outs.cls_scores)
        squares = torch.cat(levels)  # (N, 4)
        shapes = flatten_levels(outs.shape_preds, 2).float()  # (B, N, 2)
        squares = squares.expand(*shapes.shape[:2], 4)  # (B, N, 4)
        anchors = self.guided_anchors(squares, shapes.detach())  # (B, N, 4)
        approxs = grid_approxs(self.approx_generator, sizes, squares.device)  # (N, A, 4)
        inside = [
            cells_inside(approxs, self.prior_generator, sizes, meta, settings.allowed_border) for meta in batch.metas
        ]  # (N_l,) of each image and level
        losses = anchor_losses(
            self,
            scores=flatten_levels(outs.cls_scores, self.cls_out_channels).float(),
            deltas=flatten_levels(outs.bbox_preds, 4).float(),
            anchors=anchors,
            level=level_numbers(levels),
            targets=self._anchor_targets(anchors, inside, batch),
        )
        targets = self._shape_targets(squares[0], approxs, inside, batch)
        fitted = self.guided_anchors(squares[targets.positive], shapes[targets.positive])  # (P, 4)
        losses['loss_shape'] = self.loss_shape(fitted, targets.gt_bboxes, avg_factor=targets.avg_factor)

        locations, weights = location_targets(
            sizes,
            [stride for stride, _ in self.prior_generator.strides],
            batch.gts,
            base_scale=float(self.approx_generator.scales.min()),
            center_ratio=settings.center_ratio,
            ignore_ratio=settings.ignore_ratio,
        )
        logits = flatten_levels(outs.loc_preds, 1).float().view(-1, 1)  # (B * N, 1)
        losses['loss_loc'] = self.loss_loc(
            logits, locations.view(-1, 1), weights.view(-1, 1), avg_factor=locations.numel() / 200
        )
        return losses

    @torch.no_grad()
    def _anchor_targets(self, anchors: Tensor, inside: Sequence[Sequence[Tensor]], batch: Batch) -> AnchorTargets:
        """Targets of the guided anchors (B, N, 4)."""
        settings = required(self.train_cfg, 'train_cfg', self)
        assert batch.gts is not None
        targets = []
        for boxes, known, gts, ignored, meta in zip(
            anchors, inside, batch.gts, batch.ignored_regions, batch.metas, strict=True
        ):
            near = inside_image(boxes, torch.cat(list(known)), meta.img_shape, settings.allowed_border)
            levels = torch.split(near, [len(level) for level in known])
            targets.append(self._assigned_targets(boxes, levels, gts, ignored, settings))
        return AnchorTargets.stack(targets)

    @torch.no_grad()
    def _shape_targets(
        self, squares: Tensor, approxs: Tensor, inside: Sequence[Sequence[Tensor]], batch: Batch
    ) -> ShapeTargets:
        """Targets of the shapes at the squares (N, 4), with approxs (N, A, 4)."""
        settings = required(self.train_cfg, 'train_cfg', self)
        assert batch.gts is not None
        positive = torch.zeros(len(batch), len(squares), dtype=torch.bool, device=squares.device)
        gt_bboxes, num_pos, num_neg = [], 0, 0
        for image, (gts, ignored) in enumerate(zip(batch.gts, batch.ignored_regions, strict=True)):
            inds = torch.cat(list(inside[image])).nonzero().squeeze(1)
            objects = Instances(bboxes=gts.bboxes)
            info = PriorInfo(approxs=approxs[inds])
            assignment = settings.ga_assigner.assign(squares[inds], objects, ignored, info)
            samples = settings.ga_sampler.sample(assignment, squares[inds], objects)
            positive[image, inds[samples.pos_inds]] = True
            gt_bboxes.append(samples.pos_gt_bboxes)
            num_pos += max(len(samples.pos_inds), 1)
            num_neg += max(len(samples.neg_inds), 1)
        avg_factor = num_pos if settings.ga_sampler.takes_all else num_pos + num_neg
        return ShapeTargets(positive, torch.cat(gt_bboxes), avg_factor)

    # ------------------------------------------------------------------ prediction

    def level_predictions(self, outs: GuidedOuts) -> list[LevelPredictions]:
        """Priors are squares; what is predicted of a box is the shape of its anchor and the deltas from it."""
        levels = self.anchor_predictions(outs.cls_scores, outs.bbox_preds)
        shapes = [flatten_level(each.detach().float(), 2) for each in outs.shape_preds]
        return [
            level._replace(box_preds=torch.cat([shape, level.box_preds], dim=-1))
            for level, shape in zip(levels, shapes, strict=True)
        ]

    def decode_boxes(self, priors: Tensor, box_preds: Tensor, img_shape: tuple[int, int]) -> Tensor:
        """(N, 4) boxes from squares (N, 4), shapes and deltas (N, 6)."""
        anchors = self.guided_anchors(priors, box_preds[:, :2])
        return self.bbox_coder.decode(anchors, box_preds[:, 2:], img_shape)

    def likely_predictions(self, outs: GuidedOuts) -> list[LevelPredictions]:
        """As `level_predictions`, with scores of -1 in cells that are no likely location."""
        levels = []
        for level, loc_pred in zip(self.level_predictions(outs), outs.loc_preds, strict=True):
            unlikely = flatten_level(loc_pred.detach().float(), 1).sigmoid() < self.loc_filter_thr  # (B, N, 1)
            levels.append(level._replace(scores=level.scores.masked_fill(unlikely, -1)))
        return levels

    def predict(
        self,
        outs: GuidedOuts,
        metas: Sequence[ImageMeta],
        cfg: Cfg | PostProcessing | None = None,
        rescale: bool = True,
    ) -> list[Instances]:
        """Detections of each image, best first; `nms_pre` counts anchors, each with all its classes."""
        settings = PostProcessing.from_cfg(cfg if cfg is not None else self.test_cfg)
        levels = [best_priors(level, settings.nms_pre) for level in self.likely_predictions(outs)]
        return detect(levels, self.decode_boxes, metas, replace(settings, nms_pre=-1), rescale)
