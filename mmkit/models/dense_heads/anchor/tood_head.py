"""TOOD's head, arXiv:2108.07755: classification and localisation are aligned in the head and in the assignment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import Unpack

from mmkit.bbox import bbox2distance, bbox_centers, distance2bbox
from mmkit.bbox.assigners import TaskAlignedAssigner
from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.layers import ConvModule, Scale, bias_init_with_prob, normal_init
from mmkit.models.dense_heads.anchor.base_anchor_head import AnchorHeadArgs, AnchorTargets, BaseAnchorHead
from mmkit.models.dense_heads.anchor.task_alignment import (
    AlignedTargets,
    TaskDecomposition,
    TOODTraining,
    normalized_alignment,
    sample_sides,
)
from mmkit.models.dense_heads.detections import LevelPredictions
from mmkit.models.dense_heads.levels import centerness, featmap_sizes, flatten_level, flatten_levels, shared_factor
from mmkit.models.losses import QualityFocalLoss
from mmkit.models.settings import required
from mmkit.protocols import Progress
from mmkit.registry import HEADS, LOSSES, Cfg, build_from_cfg
from mmkit.structures import Batch, ImageMeta, Instances, PriorInfo


class TOODOuts(NamedTuple):
    """Predictions of each level: probabilities (B, C, H, W) and boxes (B, 4, H, W) xyxy in strides."""

    cls_scores: list[Tensor]
    bboxes: list[Tensor]


@HEADS.register_module()
class TOODHead(BaseAnchorHead[TOODOuts]):
    """Both tasks share a tower, take from its layers what each needs, and are corrected together; one anchor a cell.

    Args:
        num_dcn: this many of the first layers are deformable.
        anchor_type: 'anchor_free' regresses distances from the centre of the anchor, 'anchor_based' deltas from it.
        initial_loss_cls: classification loss of the first epochs, on probabilities.
        stacked_convs: layers of the tower.
        conv_cfg, norm_cfg: their kinds.
        train_cfg: see `TOODTraining`.

    Others as in `BaseAnchorHead`; `loss_cls` is a `QualityFocalLoss` on probabilities, the box loss compares boxes.
    """

    defaults = AnchorHeadArgs(reg_decoded_bbox=True, init_cfg=None)
    takes_sampler = False
    training_settings = TOODTraining
    train_cfg: TOODTraining | None
    in_channels: int

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        num_dcn: int = 0,
        anchor_type: str = 'anchor_free',
        initial_loss_cls: Cfg = dict(
            type='FocalLoss', use_sigmoid=True, activated=True, gamma=2.0, alpha=0.25, loss_weight=1.0
        ),
        stacked_convs: int = 4,
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg | None = dict(type='GN', num_groups=32, requires_grad=True),
        **kwargs: Unpack[AnchorHeadArgs],
    ) -> None:
        if anchor_type not in ('anchor_free', 'anchor_based'):
            message = f"TOODHead: anchor_type is 'anchor_free' or 'anchor_based', got {anchor_type!r}"
            raise InvalidValueError(message, key='anchor_type')
        self.num_dcn = num_dcn
        self.anchor_free = anchor_type == 'anchor_free'
        self.stacked_convs = stacked_convs
        self.conv_cfg = conv_cfg
        self.norm_cfg = norm_cfg
        super().__init__(num_classes, in_channels, **(self.defaults | kwargs))
        if not self.reg_decoded_bbox:
            raise InvalidValueError('TOODHead: reg_decoded_bbox=False is not supported', key='reg_decoded_bbox')
        if not isinstance(self.loss_cls, QualityFocalLoss):
            kind = type(self.loss_cls).__name__
            raise InvalidTypeError(f'TOODHead: loss_cls is a QualityFocalLoss, got {kind}', key='loss_cls')
        self.initial_loss_cls: nn.Module = build_from_cfg(initial_loss_cls, LOSSES)
        self.epoch = 0

    def _init_layers(self) -> None:
        if self.num_base_priors != 1:
            message = f'TOODHead: one anchor a cell, but anchor_generator makes {self.num_base_priors}'
            raise InvalidValueError(message, key='anchor_generator')
        channels, layers = self.feat_channels, self.stacked_convs
        widths = [self.in_channels, *[channels] * layers]
        deformable = dict(type='DCNv2', deform_groups=4)
        self.inter_convs = nn.ModuleList(
            ConvModule(
                widths[i],
                channels,
                3,
                padding=1,
                conv_cfg=deformable if i < self.num_dcn else self.conv_cfg,
                norm_cfg=self.norm_cfg,
            )
            for i in range(layers)
        )
        self.cls_decomp, self.reg_decomp = (
            TaskDecomposition(channels, layers, layers * 8, self.conv_cfg, self.norm_cfg) for _ in range(2)
        )
        self.tood_cls = nn.Conv2d(channels, self.cls_out_channels, 3, padding=1)
        self.tood_reg = nn.Conv2d(channels, 4, 3, padding=1)

        def aligner(outputs: int) -> nn.Sequential:
            hidden = channels // 4
            return nn.Sequential(
                nn.Conv2d(channels * layers, hidden, 1),
                nn.ReLU(inplace=True),
                nn.Conv2d(hidden, outputs, 3, padding=1),
            )

        self.cls_prob_module, self.reg_offset_module = aligner(1), aligner(4 * 2)
        self.scales = nn.ModuleList(Scale(1.0) for _ in self.prior_generator.strides)

    def init_weights(self) -> None:
        """Normal weights, and positives that are rare; or what `init_cfg` says."""
        super().init_weights()
        if self.init_cfg:
            return
        rare = bias_init_with_prob(0.01)
        for block in self.inter_convs.children():
            assert isinstance(block, ConvModule)
            normal_init(block.conv, std=0.01)
        for module, std in ((self.cls_prob_module, 0.01), (self.reg_offset_module, 0.001)):
            for layer in module:
                normal_init(layer, std=std)
        normal_init(self.cls_prob_module[-1], std=0.01, bias=rare)
        normal_init(self.tood_cls, std=0.01, bias=rare)
        normal_init(self.tood_reg, std=0.01)

    def set_progress(self, progress: Progress) -> None:
        """Later epochs are assigned by alignment."""
        self.epoch = progress.epoch

    def forward(self, feats: Sequence[Tensor]) -> TOODOuts:
        """Features (B, in_channels, H, W) of each level -> probabilities and boxes in strides."""
        outs = TOODOuts([], [])
        levels = zip(feats, self.scales, self.anchors(feats), self.prior_generator.strides, strict=True)
        for feat, scale, anchors, (stride, _) in levels:
            layers = []
            for conv in self.inter_convs:
                feat = conv(feat)
                layers.append(feat)
            shared = torch.cat(layers, dim=1)
            mean = F.adaptive_avg_pool2d(shared, 1)
            logits = self.tood_cls(self.cls_decomp(shared, mean)).float()
            # The geometric mean of two probabilities, with gradients that stay finite where they are 0.
            log_probs = F.logsigmoid(logits) + F.logsigmoid(self.cls_prob_module(shared).float())
            outs.cls_scores.append((log_probs / 2).exp())
            raw = self.tood_reg(self.reg_decomp(shared, mean))
            bboxes = self._first_boxes(raw, scale, anchors, stride)
            outs.bboxes.append(sample_sides(bboxes, self.reg_offset_module(shared)))
        return outs

    def _first_boxes(self, raw: Tensor, scale: nn.Module, anchors: Tensor, stride: int) -> Tensor:
        """(B, 4, H, W) boxes in strides from raw predictions (B, 4, H, W) at anchors (H * W, 4) of a level."""
        if self.anchor_free:
            distances = flatten_level(scale(raw.exp()).float(), 4)  # (B, H * W, 4)
            bboxes = distance2bbox(bbox_centers(anchors).expand_as(distances[..., :2]) / stride, distances)
        else:
            deltas = flatten_level(scale(raw).float(), 4)
            bboxes = self.bbox_coder.decode(anchors.expand_as(deltas), deltas) / stride
        return bboxes.transpose(1, 2).view_as(raw)

    # ------------------------------------------------------------------ training

    def loss(self, outs: TOODOuts, batch: Batch) -> dict[str, Tensor]:
        settings = required(self.train_cfg, 'train_cfg', self)
        scores = flatten_levels(outs.cls_scores, self.cls_out_channels)  # (B, N, C)
        boxes = torch.cat(self._pixel_boxes(outs), dim=1)  # (B, N, 4)
        anchors = torch.cat(self.anchors(outs.cls_scores))  # (N, 4)
        sizes = featmap_sizes(outs.cls_scores)
        initial = self.epoch < settings.initial_epoch
        targets = (
            self._initial_targets(anchors, sizes, batch)
            if initial
            else self._aligned_targets(scores.detach(), boxes.detach(), anchors, sizes, batch)
        )
        labels, label_weights, bbox_targets, *_ = targets.anchors
        positive = labels < self.num_classes  # (B, N) with P positives
        weights = targets.alignment[positive]
        if initial:
            centers = bbox_centers(anchors).expand(len(boxes), -1, -1)[positive]
            weights = centerness(bbox2distance(centers, bbox_targets[positive]))
        truth = labels.flatten() if initial else (labels.flatten(), targets.alignment.flatten())
        criterion = self.initial_loss_cls if initial else self.loss_cls
        with torch.autocast(scores.device.type, enabled=False):  # no cross entropy of probabilities under it
            loss_cls = criterion(
                scores.flatten(0, 1),
                truth,
                label_weights.flatten(),
                avg_factor=shared_factor(targets.alignment.sum(), anchors),
            )
        loss_bbox = self.loss_bbox(
            boxes[positive], bbox_targets[positive], weights, avg_factor=shared_factor(weights.sum(), anchors)
        )
        return dict(loss_cls=loss_cls, loss_bbox=loss_bbox)

    def _pixel_boxes(self, outs: TOODOuts) -> list[Tensor]:
        """(B, N_l, 4) boxes of each level in pixels."""
        levels = zip(outs.bboxes, self.prior_generator.strides, strict=True)
        return [flatten_level(bboxes, 4) * stride for bboxes, (stride, _) in levels]

    def _initial_targets(self, anchors: Tensor, sizes: Sequence[tuple[int, int]], batch: Batch) -> AlignedTargets:
        """Targets by anchors alone; all that are positive count as aligned."""
        settings = required(self.train_cfg, 'train_cfg', self)
        targets = self.targets(anchors, sizes, batch, replace(settings, assigner=settings.initial_assigner))
        return AlignedTargets(targets, (targets.labels < self.num_classes).float())

    @torch.no_grad()
    def _aligned_targets(
        self, scores: Tensor, boxes: Tensor, anchors: Tensor, sizes: Sequence[tuple[int, int]], batch: Batch
    ) -> AlignedTargets:
        """Targets by the predicted probabilities (B, N, C) and boxes (B, N, 4)."""
        assert batch.gts is not None
        images = [
            self._aligned_image_targets(PriorInfo(scores=score, bbox_preds=box), anchors, sizes, gts, meta)
            for score, box, gts, meta in zip(scores, boxes, batch.gts, batch.metas, strict=True)
        ]
        return AlignedTargets(
            AnchorTargets.stack([each.anchors for each in images]), torch.stack([each.alignment for each in images])
        )

    def _aligned_image_targets(
        self, info: PriorInfo, anchors: Tensor, sizes: Sequence[tuple[int, int]], gts: Instances, meta: ImageMeta
    ) -> AlignedTargets:
        """Targets of one image, without the dimension B, from the predictions `info` at all anchors."""
        settings = required(self.train_cfg, 'train_cfg', self)
        assert isinstance(settings.assigner, TaskAlignedAssigner) and info.scores is not None
        assert info.bbox_preds is not None
        inds = torch.cat(self.inside(anchors, sizes, meta, settings)).nonzero().squeeze(1)
        info = PriorInfo(scores=info.scores[inds], bbox_preds=info.bbox_preds[inds])
        assignment = settings.assigner.assign(anchors[inds], gts, info=info, alpha=settings.alpha, beta=settings.beta)
        matched = assignment.gt_inds >= 0
        pos, gt_inds = inds[matched], assignment.gt_inds[matched]
        targets = self._matched_targets(anchors, pos, inds[~matched], gts, gt_inds=gt_inds, settings=settings)
        alignment = anchors.new_zeros(len(anchors))
        alignment[pos] = normalized_alignment(
            assignment.alignment[matched], assignment.max_overlaps[matched], gt_inds, num_gts=len(gts)
        )
        return AlignedTargets(targets, alignment)

    # ------------------------------------------------------------------ prediction

    def level_predictions(self, outs: TOODOuts) -> list[LevelPredictions]:
        """Scores are probabilities and boxes are in pixels already."""
        scores = [flatten_level(each.detach(), self.cls_out_channels) for each in outs.cls_scores]
        boxes = [each.detach() for each in self._pixel_boxes(outs)]
        levels = zip(scores, boxes, self.anchors(outs.cls_scores), strict=True)
        return [LevelPredictions(*level) for level in levels]

    def decode_boxes(self, priors: Tensor, box_preds: Tensor, img_shape: tuple[int, int]) -> Tensor:
        """The predicted boxes (N, 4), not clipped."""
        return box_preds
