"""The classifier and box regressor of a region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from mmkit.bbox import SamplingResult, multiclass_nms
from mmkit.layers import BaseModule, build_linear_layer
from mmkit.models.losses import accuracy
from mmkit.registry import BBOX_CODERS, HEADS, LOSSES, build_from_cfg
from mmkit.structures import ImageMeta, Instances


@dataclass
class RoITargets:
    """What R regions should say; background has the label `num_classes`."""

    labels: Tensor  # (R,) int64
    label_weights: Tensor  # (R,)
    bbox_targets: Tensor  # (R, 4)
    bbox_weights: Tensor  # (R, 4)


@HEADS.register_module()
class BBoxHead(BaseModule):
    """Two linear layers on (pooled) region features: C+1 class scores and 4 or 4C deltas (arXiv:1504.08083).

    Args:
        with_avg_pool: average over the region's cells instead of flattening them.
        with_cls, with_reg: which of the two outputs there are; a missing one is None.
        roi_feat_size: cells of a region, int or (h, w).
        reg_class_agnostic: one box for all classes.
        reg_decoded_bbox: the box loss compares decoded boxes (for IoU losses) instead of deltas.
        reg_predictor_cfg, cls_predictor_cfg: kind of the two last layers.
    """

    def __init__(
        self,
        with_avg_pool: bool = False,
        with_cls: bool = True,
        with_reg: bool = True,
        roi_feat_size: int | Sequence[int] = 7,
        in_channels: int = 256,
        num_classes: int = 80,
        bbox_coder: Mapping[str, Any] = dict(
            type='DeltaXYWHBBoxCoder', clip_border=True, target_means=[0.0] * 4, target_stds=[0.1, 0.1, 0.2, 0.2]
        ),
        reg_class_agnostic: bool = False,
        reg_decoded_bbox: bool = False,
        reg_predictor_cfg: Mapping[str, Any] = dict(type='Linear'),
        cls_predictor_cfg: Mapping[str, Any] = dict(type='Linear'),
        loss_cls: Mapping[str, Any] = dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
        loss_bbox: Mapping[str, Any] = dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0),
        init_cfg: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if not (with_cls or with_reg):
            raise ValueError('a box head needs with_cls or with_reg')
        self.with_avg_pool = with_avg_pool
        self.with_cls = with_cls
        self.with_reg = with_reg
        self.roi_feat_size = _pair(roi_feat_size)
        self.roi_feat_area = self.roi_feat_size[0] * self.roi_feat_size[1]
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.reg_class_agnostic = reg_class_agnostic
        self.reg_decoded_bbox = reg_decoded_bbox
        self.reg_predictor_cfg = reg_predictor_cfg
        self.cls_predictor_cfg = cls_predictor_cfg
        self.bbox_coder = build_from_cfg(bbox_coder, BBOX_CODERS)
        self.loss_cls = build_from_cfg(loss_cls, LOSSES)
        self.loss_bbox = build_from_cfg(loss_bbox, LOSSES)
        if with_avg_pool:
            self.avg_pool = nn.AvgPool2d(self.roi_feat_size)
        self._init_predictors(*[in_channels if with_avg_pool else in_channels * self.roi_feat_area] * 2)
        if init_cfg is None:
            self.init_cfg = self._default_init()

    def _init_predictors(self, cls_channels: int, reg_channels: int) -> None:
        if self.with_cls:
            custom = getattr(self.loss_cls, 'get_cls_channels', None)
            channels = custom(self.num_classes) if custom else self.num_classes + 1
            self.fc_cls = build_linear_layer(self.cls_predictor_cfg, in_features=cls_channels, out_features=channels)
        if self.with_reg:
            channels = 4 if self.reg_class_agnostic else 4 * self.num_classes
            self.fc_reg = build_linear_layer(self.reg_predictor_cfg, in_features=reg_channels, out_features=channels)

    def _default_init(self) -> list[dict[str, Any]]:
        init: list[dict[str, Any]] = []
        if self.with_cls:
            init.append(dict(type='Normal', std=0.01, override=dict(name='fc_cls')))
        if self.with_reg:
            init.append(dict(type='Normal', std=0.001, override=dict(name='fc_reg')))
        return init

    def forward(self, feats: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """(R, C, h, w) -> class scores (R, num_classes + 1), deltas (R, 4 or 4 * num_classes)."""
        if self.with_avg_pool:
            feats = self.avg_pool(feats)
        feats = feats.flatten(1)
        return (
            self.fc_cls(feats) if self.with_cls else None,
            self.fc_reg(feats) if self.with_reg else None,
        )

    # ------------------------------------------------------------------ training

    @torch.no_grad()
    def targets(self, samples: Sequence[SamplingResult], pos_weight: float = -1) -> RoITargets:
        """Targets of the sampled regions of all images, each image's positives before its negatives."""
        parts = [self._image_targets(each, pos_weight) for each in samples]
        return RoITargets(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def _image_targets(self, samples: SamplingResult, pos_weight: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        num_pos, num = len(samples.pos_inds), len(samples.bboxes)
        bboxes = samples.bboxes
        labels = torch.full((num,), self.num_classes, dtype=torch.long, device=bboxes.device)
        label_weights = bboxes.new_ones(num)
        bbox_targets, bbox_weights = bboxes.new_zeros(num, 4), bboxes.new_zeros(num, 4)
        if num_pos:
            assert samples.pos_gt_labels is not None
            labels[:num_pos] = samples.pos_gt_labels
            if pos_weight > 0:
                label_weights[:num_pos] = pos_weight
            bbox_targets[:num_pos] = (
                samples.pos_gt_bboxes
                if self.reg_decoded_bbox
                else self.bbox_coder.encode(samples.pos_bboxes, samples.pos_gt_bboxes)
            )
            bbox_weights[:num_pos] = 1.0
        return labels, label_weights, bbox_targets, bbox_weights

    def loss(
        self,
        cls_score: Tensor | None,
        bbox_pred: Tensor | None,
        rois: Tensor,
        targets: RoITargets,
        reduction_override: str | None = None,
    ) -> dict[str, Tensor]:
        """`loss_cls`, `acc` (percent) and `loss_bbox` of the outputs for (R, 5) `rois`."""
        losses: dict[str, Tensor] = {}
        if cls_score is not None:
            losses.update(self._cls_loss(cls_score.float(), targets, reduction_override))
        if bbox_pred is not None:
            losses['loss_bbox'] = self._box_loss(bbox_pred.float(), rois, targets, reduction_override)
        return losses

    def _cls_loss(self, cls_score: Tensor, targets: RoITargets, reduction_override: str | None) -> dict[str, Tensor]:
        if not cls_score.numel():
            return dict(loss_cls=cls_score.sum(), acc=cls_score.new_zeros(1))
        loss = self.loss_cls(
            cls_score,
            targets.labels,
            targets.label_weights,
            avg_factor=max(float((targets.label_weights > 0).sum()), 1.0),
            reduction_override=reduction_override,
        )
        losses = loss if isinstance(loss, dict) else dict(loss_cls=loss)
        if hasattr(self.loss_cls, 'get_accuracy'):
            return {**losses, **self.loss_cls.get_accuracy(cls_score, targets.labels)}
        return {**losses, 'acc': accuracy(cls_score, targets.labels)}

    def _box_loss(self, bbox_pred: Tensor, rois: Tensor, targets: RoITargets, reduction_override: str | None) -> Tensor:
        positive = (targets.labels >= 0) & (targets.labels < self.num_classes)
        if not positive.any():
            return bbox_pred[positive].sum()
        preds = self._own_boxes(bbox_pred[positive], targets.labels[positive])
        if self.reg_decoded_bbox:
            preds = self.bbox_coder.decode(rois[positive, 1:], preds)
        return self.loss_bbox(
            preds,
            targets.bbox_targets[positive],
            targets.bbox_weights[positive],
            avg_factor=len(targets.labels),
            reduction_override=reduction_override,
        )

    def _own_boxes(self, bbox_pred: Tensor, labels: Tensor) -> Tensor:
        """(R, 4) out of (R, 4 or 4C): the deltas that belong to each region's label."""
        if self.reg_class_agnostic:
            return bbox_pred.view(-1, 4)
        return bbox_pred.view(len(bbox_pred), -1, 4)[torch.arange(len(labels), device=labels.device), labels]

    @torch.no_grad()
    def hard_losses(self, feats: Tensor, labels: Tensor) -> Tensor:
        """(R,) classification losses of (R, C, h, w) regions, for OHEM; a label of -1 is background."""
        cls_score, _ = self(feats)
        labels = torch.where(labels < 0, self.num_classes, labels)
        weights = torch.ones_like(labels, dtype=torch.float)
        losses = self.loss_cls(cls_score.float(), labels, weights, reduction_override='none')
        if isinstance(losses, dict):
            name = type(self.loss_cls).__name__
            raise ValueError(f'OHEM needs one loss to rank regions by, {name} has {list(losses)}')
        return losses

    # ------------------------------------------------------------------ prediction

    def probabilities(self, cls_score: Tensor) -> Tensor:
        """(R, C+1) class scores -> probabilities, background last."""
        custom = getattr(self.loss_cls, 'get_activation', None)
        return custom(cls_score) if custom else cls_score.float().softmax(dim=-1)

    def decode(
        self,
        rois: Tensor,
        scores: Tensor,
        bbox_pred: Tensor | None,
        meta: ImageMeta,
        rescale: bool,
    ) -> tuple[Tensor, Tensor]:
        """(R, 5) regions of one image -> their boxes (R, 4 or 4C) and `scores` (R, C+1), before NMS."""
        if bbox_pred is not None:
            bboxes = self.bbox_coder.decode(rois[:, 1:], bbox_pred.float(), max_shape=meta.img_shape)
        else:
            height, width = meta.img_shape[:2]
            limit = rois.new_tensor([width, height, width, height])
            bboxes = torch.minimum(rois[:, 1:].clamp(min=0), limit)
        if rescale and len(bboxes):
            bboxes = (bboxes.view(len(bboxes), -1, 4) / bboxes.new_tensor(meta.scale_factor)).flatten(1)
        return bboxes, scores

    def predict(
        self,
        rois: Tensor,
        scores: Tensor,
        bbox_pred: Tensor | None,
        meta: ImageMeta,
        cfg: Mapping[str, Any],
        rescale: bool = True,
    ) -> Instances:
        """Detections of one image from the (R, C+1) probabilities of its regions."""
        bboxes, scores = self.decode(rois, scores, bbox_pred, meta, rescale)
        return multiclass_nms(bboxes, scores, cfg['score_thr'], cfg['nms'], cfg['max_per_img'])

    @torch.no_grad()
    def regress_by_class(self, bboxes: Tensor, labels: Tensor, bbox_pred: Tensor, meta: ImageMeta) -> Tensor:
        """(R, 4) `bboxes` moved by the deltas of their (R,) `labels`: the input of a cascade's next stage."""
        return self.bbox_coder.decode(bboxes, self._own_boxes(bbox_pred.float(), labels), max_shape=meta.img_shape)
