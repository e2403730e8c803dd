"""ATSS's head, arXiv:1912.02424."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.bbox import bbox2distance
from mmkit.layers import Scale
from mmkit.models.dense_heads.anchor.anchor_head import AnchorHead
from mmkit.models.dense_heads.levels import (
    PostProcessing,
    centerness,
    featmap_sizes,
    flatten_level,
    flatten_levels,
    shared_factor,
)
from mmkit.models.dense_heads.towers import apply_convs, conv_tower
from mmkit.registry import HEADS, LOSSES, build_from_cfg
from mmkit.structures import Batch, ImageMeta, Instances


@HEADS.register_module()
class ATSSHead(AnchorHead):
    """Two towers as RetinaNet's; a third output says how central the anchor is in its object.

    Args:
        pred_kernel_size: of the three convolutions that predict.
        stacked_convs: convolutions in each tower.
        conv_cfg, norm_cfg: kinds of layer of the towers.
        reg_decoded_bbox: must be True, as centerness follows from boxes.
        loss_centerness: a sigmoid cross entropy.

    Others as in `AnchorHead`.
    """

    takes_sampler = False

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        pred_kernel_size: int = 3,
        stacked_convs: int = 4,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = dict(type='GN', num_groups=32, requires_grad=True),
        reg_decoded_bbox: bool = True,
        loss_centerness: Mapping[str, Any] = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        init_cfg: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = dict(
            type='Normal',
            layer='Conv2d',
            std=0.01,
            override=dict(type='Normal', name='atss_cls', std=0.01, bias_prob=0.01),
        ),
        feat_channels: int = 256,
        anchor_generator: Mapping[str, Any] = dict(
            type='AnchorGenerator', scales=[8, 16, 32], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64]
        ),
        bbox_coder: Mapping[str, Any] = dict(
            type='DeltaXYWHBBoxCoder', clip_border=True, target_means=(0.0,) * 4, target_stds=(1.0,) * 4
        ),
        loss_cls: Mapping[str, Any] = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        loss_bbox: Mapping[str, Any] = dict(type='SmoothL1Loss', beta=1.0 / 9.0, loss_weight=1.0),
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        if not reg_decoded_bbox:
            raise ValueError('ATSSHead: reg_decoded_bbox=False is not supported, centerness follows from boxes')
        self.pred_kernel_size = pred_kernel_size
        self.stacked_convs = stacked_convs
        self.conv_cfg = conv_cfg
        self.norm_cfg = norm_cfg
        super().__init__(
            num_classes=num_classes,
            in_channels=in_channels,
            feat_channels=feat_channels,
            anchor_generator=anchor_generator,
            bbox_coder=bbox_coder,
            reg_decoded_bbox=reg_decoded_bbox,
            loss_cls=loss_cls,
            loss_bbox=loss_bbox,
            train_cfg=train_cfg,
            test_cfg=test_cfg,
            init_cfg=init_cfg,
        )
        self.loss_centerness = build_from_cfg(loss_centerness, LOSSES)

    def _init_layers(self) -> None:
        def predictor(channels: int) -> nn.Conv2d:
            kernel = self.pred_kernel_size
            return nn.Conv2d(self.feat_channels, self.num_base_priors * channels, kernel, padding=kernel // 2)

        tower = (self.in_channels, self.feat_channels, self.stacked_convs, self.conv_cfg, self.norm_cfg)
        self.cls_convs = conv_tower(*tower)
        self.reg_convs = conv_tower(*tower)
        self.atss_cls = predictor(self.cls_out_channels)
        self.atss_reg = predictor(4)
        self.atss_centerness = predictor(1)
        self.scales = nn.ModuleList(Scale(1.0) for _ in self.prior_generator.strides)

    def forward(self, feats: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Features of each level -> scores (B, A*C, H, W), deltas (B, A*4, H, W), centerness logits (B, A, H, W)."""
        cls_scores, bbox_preds, centers = [], [], []
        for feat, scale in zip(feats, self.scales, strict=True):
            reg_feat = apply_convs(self.reg_convs, feat)
            cls_scores.append(self.atss_cls(apply_convs(self.cls_convs, feat)))
            bbox_preds.append(scale(self.atss_reg(reg_feat)).float())
            centers.append(self.atss_centerness(reg_feat))
        return cls_scores, bbox_preds, centers

    def loss(self, outs: tuple[list[Tensor], list[Tensor], list[Tensor]], batch: Batch) -> dict[str, Tensor]:
        cls_scores, bbox_preds, centers = outs
        anchors = torch.cat(self.anchors(cls_scores))  # (N, 4)
        targets = self.targets(anchors, featmap_sizes(cls_scores), batch)
        num_pos = shared_factor(targets.num_pos, anchors)
        scores = flatten_levels(cls_scores, self.cls_out_channels).float()  # (B, N, C)

        positive = targets.labels < self.num_classes  # (B, N) with P positives
        pos_anchors = anchors.expand(len(positive), -1, -1)[positive]  # (P, 4)
        pos_gts = targets.bbox_targets[positive]  # (P, 4)
        points = (pos_anchors[:, :2] + pos_anchors[:, 2:]) / 2
        wanted = centerness(bbox2distance(points, pos_gts))  # (P,)
        bboxes = self.bbox_coder.decode(pos_anchors, flatten_levels(bbox_preds, 4).float()[positive])
        return dict(
            loss_cls=self.loss_cls(
                scores.flatten(0, 1), targets.labels.flatten(), targets.label_weights.flatten(), avg_factor=num_pos
            ),
            loss_bbox=self.loss_bbox(bboxes, pos_gts, wanted, avg_factor=shared_factor(wanted.sum(), anchors)),
            loss_centerness=self.loss_centerness(
                flatten_levels(centers, 1).float().squeeze(-1)[positive], wanted, avg_factor=num_pos
            ),
        )

    def predict(
        self,
        outs: tuple[list[Tensor], list[Tensor], list[Tensor]],
        metas: Sequence[ImageMeta],
        cfg: Mapping[str, Any] | PostProcessing | None = None,
        rescale: bool = True,
    ) -> list[Instances]:
        """Detections of each image; a score is that of the class times the centerness."""
        settings = PostProcessing.from_cfg(cfg if cfg is not None else self.test_cfg)
        cls_scores, bbox_preds, centers = outs
        anchors = self.anchors(cls_scores)
        scores = [self.probabilities(flatten_level(x.detach().float(), self.cls_out_channels)) for x in cls_scores]
        deltas = [flatten_level(x.detach().float(), 4) for x in bbox_preds]
        factors = [flatten_level(x.detach().float(), 1).squeeze(-1).sigmoid() for x in centers]

        return self.detections(scores, deltas, anchors, metas, settings, rescale, factors)
