"""ATSS's head, arXiv:1912.02424."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from mmkit.bbox import bbox2distance, bbox_centers
from mmkit.errors import InvalidValueError
from mmkit.layers import Scale
from mmkit.models.dense_heads.anchor.base_anchor_head import AnchorHeadArgs, BaseAnchorHead
from mmkit.models.dense_heads.detections import LevelPredictions
from mmkit.models.dense_heads.levels import (
    centerness,
    featmap_sizes,
    flatten_level,
    flatten_levels,
    shared_factor,
)
from mmkit.models.dense_heads.towers import apply_convs, conv_tower
from mmkit.registry import HEADS, LOSSES, Cfg, build_from_cfg
from mmkit.structures import Batch


class ATSSOuts(NamedTuple):
    """Raw predictions of each level: scores (B, A*C, H, W), deltas (B, A*4, H, W), centerness logits (B, A, H, W)."""

    cls_scores: list[Tensor]
    bbox_preds: list[Tensor]
    centernesses: list[Tensor]


@HEADS.register_module()
class ATSSHead(BaseAnchorHead[ATSSOuts]):
    """Two towers as RetinaNet's, and a centerness for each anchor.

    Args:
        pred_kernel_size: of the three convolutions that predict.
        stacked_convs: convolutions in each tower.
        conv_cfg, norm_cfg: kinds of layer of the towers.
        reg_decoded_bbox: must be True, as centerness follows from boxes.
        loss_centerness: a sigmoid cross entropy.

    Others as in `BaseAnchorHead`.
    """

    defaults = AnchorHeadArgs(
        reg_decoded_bbox=True,
        init_cfg=dict(
            type='Normal',
            layer='Conv2d',
            std=0.01,
            override=dict(type='Normal', name='atss_cls', std=0.01, bias_prob=0.01),
        ),
    )
    takes_sampler = False
    in_channels: int

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        pred_kernel_size: int = 3,
        stacked_convs: int = 4,
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg | None = dict(type='GN', num_groups=32, requires_grad=True),
        loss_centerness: Cfg = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        **kwargs: Unpack[AnchorHeadArgs],
    ) -> None:
        self.pred_kernel_size = pred_kernel_size
        self.stacked_convs = stacked_convs
        self.conv_cfg = conv_cfg
        self.norm_cfg = norm_cfg
        super().__init__(num_classes, in_channels, **(self.defaults | kwargs))
        if not self.reg_decoded_bbox:
            raise InvalidValueError(
                'ATSSHead: reg_decoded_bbox=False is not supported, centerness follows from boxes',
                key='reg_decoded_bbox',
            )
        self.loss_centerness: nn.Module = build_from_cfg(loss_centerness, LOSSES)

    def _init_layers(self) -> None:
        def tower() -> nn.ModuleList:
            return conv_tower(self.in_channels, self.feat_channels, self.stacked_convs, self.conv_cfg, self.norm_cfg)

        def predictor(channels: int) -> nn.Conv2d:
            kernel = self.pred_kernel_size
            return nn.Conv2d(self.feat_channels, self.num_base_priors * channels, kernel, padding=kernel // 2)

        self.cls_convs, self.reg_convs = tower(), tower()
        self.atss_cls = predictor(self.cls_out_channels)
        self.atss_reg = predictor(4)
        self.atss_centerness = predictor(1)
        self.scales = nn.ModuleList(Scale(1.0) for _ in self.prior_generator.strides)

    def forward(self, feats: Sequence[Tensor]) -> ATSSOuts:
        """Features (B, in_channels, H, W) of each level -> scores, deltas and centerness logits."""
        outs = ATSSOuts([], [], [])
        for feat, scale in zip(feats, self.scales, strict=True):
            reg_feat = apply_convs(self.reg_convs, feat)
            outs.cls_scores.append(self.atss_cls(apply_convs(self.cls_convs, feat)))
            outs.bbox_preds.append(scale(self.atss_reg(reg_feat)).float())
            outs.centernesses.append(self.atss_centerness(reg_feat))
        return outs

    def loss(self, outs: ATSSOuts, batch: Batch) -> dict[str, Tensor]:
        cls_scores, bbox_preds, centernesses = outs
        anchors = torch.cat(self.anchors(cls_scores))  # (N, 4)
        targets = self.targets(anchors, featmap_sizes(cls_scores), batch)
        num_pos = shared_factor(targets.num_pos, anchors)
        scores = flatten_levels(cls_scores, self.cls_out_channels).float()  # (B, N, C)
        deltas = flatten_levels(bbox_preds, 4).float()  # (B, N, 4)
        center_logits = flatten_levels(centernesses, 1).float().squeeze(-1)  # (B, N)

        positive = targets.labels < self.num_classes  # (B, N) with P positives
        pos_gts = targets.bbox_targets[positive]  # (P, 4)
        pos_points = bbox_centers(anchors).expand(len(positive), -1, -1)[positive]  # (P, 2)
        center_targets = centerness(bbox2distance(pos_points, pos_gts))  # (P,)
        loss_cls = self.loss_cls(
            scores.flatten(0, 1), targets.labels.flatten(), targets.label_weights.flatten(), avg_factor=num_pos
        )
        loss_bbox = self.loss_bbox(
            self.positive_boxes(deltas, anchors, positive),
            pos_gts,
            center_targets,
            avg_factor=shared_factor(center_targets.sum(), anchors),
        )
        loss_centerness = self.loss_centerness(center_logits[positive], center_targets, avg_factor=num_pos)
        return dict(loss_cls=loss_cls, loss_bbox=loss_bbox, loss_centerness=loss_centerness)

    def level_predictions(self, outs: ATSSOuts) -> list[LevelPredictions]:
        """A score is that of the class times the centerness."""
        cls_scores, bbox_preds, centernesses = outs
        factors = [flatten_level(each.detach().float(), 1).squeeze(-1).sigmoid() for each in centernesses]
        return self.anchor_predictions(cls_scores, bbox_preds, factors)
