"""FCOS's head, arXiv:1904.01355."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.bbox import bbox2distance
from mmkit.bbox.priors import MlvlPointGenerator
from mmkit.layers import BaseModule, Scale
from mmkit.models.dense_heads.levels import (
    PostProcessing,
    centerness,
    detect,
    featmap_sizes,
    flatten_level,
    flatten_levels,
    shared_factor,
)
from mmkit.models.dense_heads.towers import apply_convs, conv_tower
from mmkit.registry import BBOX_CODERS, HEADS, LOSSES, build_from_cfg
from mmkit.structures import Batch, ImageMeta, Instances

Outs = tuple[list[Tensor], list[Tensor], list[Tensor]]


@HEADS.register_module()
class FCOSHead(BaseModule):
    """Classifies the points of every level and regresses the distances to the sides of the object around them.

    Args:
        num_classes: C, without background.
        in_channels: channels of every input level.
        regress_ranges: (low, high) in pixels a level, within which the greatest of the four distances must be.
        center_sampling: only points near the centre of an object are positive.
        center_sample_radius: how near, in strides.
        norm_on_bbox: distances are predicted in strides, not below 0; otherwise as logarithms of pixels.
        centerness_on_reg: predict centerness from the tower of the boxes, not from that of the classes.
        loss_cls, loss_bbox, loss_centerness: configs or built objects; the box loss compares boxes.
        norm_cfg, conv_cfg, conv_bias: of the towers; conv_bias 'auto': only without a norm layer.
        feat_channels, stacked_convs: width and length of the towers.
        strides: of the levels, in pixels.
        dcn_on_last_conv: the last convolution of each tower is deformable.
        bbox_coder: from points and distances to boxes.
        train_cfg: not read, as ranges and centres decide.
        test_cfg: see `PostProcessing`.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        regress_ranges: Sequence[Sequence[float]] = ((-1, 64), (64, 128), (128, 256), (256, 512), (512, 1e8)),
        center_sampling: bool = False,
        center_sample_radius: float = 1.5,
        norm_on_bbox: bool = False,
        centerness_on_reg: bool = False,
        loss_cls: Mapping[str, Any] = dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox: Mapping[str, Any] = dict(type='IoULoss', loss_weight=1.0),
        loss_centerness: Mapping[str, Any] = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        norm_cfg: Mapping[str, Any] | None = dict(type='GN', num_groups=32, requires_grad=True),
        init_cfg: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = dict(
            type='Normal',
            layer='Conv2d',
            std=0.01,
            override=dict(type='Normal', name='conv_cls', std=0.01, bias_prob=0.01),
        ),
        feat_channels: int = 256,
        stacked_convs: int = 4,
        strides: Sequence[int] = (4, 8, 16, 32, 64),
        dcn_on_last_conv: bool = False,
        conv_bias: bool | str = 'auto',
        bbox_coder: Mapping[str, Any] = dict(type='DistancePointBBoxCoder'),
        conv_cfg: Mapping[str, Any] | None = None,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if len(regress_ranges) != len(strides):
            raise ValueError(f'FCOSHead: {len(regress_ranges)} regress_ranges for {len(strides)} strides')
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.feat_channels = feat_channels
        self.strides = list(strides)
        self.regress_ranges = regress_ranges
        self.center_sampling = center_sampling
        self.center_sample_radius = center_sample_radius
        self.norm_on_bbox = norm_on_bbox
        self.centerness_on_reg = centerness_on_reg
        self.loss_cls = build_from_cfg(loss_cls, LOSSES)
        self.loss_bbox = build_from_cfg(loss_bbox, LOSSES)
        self.loss_centerness = build_from_cfg(loss_centerness, LOSSES)
        self.use_sigmoid_cls = bool(getattr(self.loss_cls, 'use_sigmoid', False))
        self.cls_out_channels = num_classes if self.use_sigmoid_cls else num_classes + 1
        self.bbox_coder = build_from_cfg(bbox_coder, BBOX_CODERS)
        self.prior_generator = MlvlPointGenerator(self.strides)
        self.test_cfg = PostProcessing.from_cfg(test_cfg) if test_cfg else None

        last = dict(type='DCNv2') if dcn_on_last_conv else None
        tower = (in_channels, feat_channels, stacked_convs, conv_cfg, norm_cfg, conv_bias, last)
        self.cls_convs = conv_tower(*tower)
        self.reg_convs = conv_tower(*tower)
        self.conv_cls = nn.Conv2d(feat_channels, self.cls_out_channels, 3, padding=1)
        self.conv_reg = nn.Conv2d(feat_channels, 4, 3, padding=1)
        self.conv_centerness = nn.Conv2d(feat_channels, 1, 3, padding=1)
        self.scales = nn.ModuleList(Scale(1.0) for _ in self.strides)

    def forward(self, feats: Sequence[Tensor]) -> Outs:
        """Features of each level -> scores (B, C, H, W), distances (B, 4, H, W), centerness logits (B, 1, H, W).

        Distances are in strides with `norm_on_bbox`, else in pixels.
        """
        cls_scores, distances, centers = [], [], []
        for feat, scale in zip(feats, self.scales, strict=True):
            cls_feat, reg_feat = apply_convs(self.cls_convs, feat), apply_convs(self.reg_convs, feat)
            cls_scores.append(self.conv_cls(cls_feat))
            centers.append(self.conv_centerness(reg_feat if self.centerness_on_reg else cls_feat))
            raw = scale(self.conv_reg(reg_feat)).float()
            distances.append(raw.clamp(min=0) if self.norm_on_bbox else raw.exp())
        return cls_scores, distances, centers

    def points(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        """(H*W, 4) x, y, stride_w, stride_h of each level of `outputs`."""
        return self.prior_generator.grid_priors(
            featmap_sizes(outputs), torch.float32, outputs[0].device, with_stride=True
        )

    # ------------------------------------------------------------------ training

    def loss(self, outs: Outs, batch: Batch) -> dict[str, Tensor]:
        assert batch.gts is not None
        cls_scores, distances, centers = outs
        levels = self.points(cls_scores)
        points = torch.cat(levels)  # (N, 4)
        ranges = torch.cat(
            [level.new_tensor(pair).expand(len(level), 2) for level, pair in zip(levels, self.regress_ranges)]
        )
        found = [self.targets(points, ranges, gts) for gts in batch.gts]
        labels = torch.stack([each[0] for each in found])  # (B, N)
        positive = labels < self.num_classes  # (B, N) with P positives
        num_pos = shared_factor(positive.sum(), points)

        wanted = torch.stack([each[1] for each in found])[positive]  # (P, 4)
        weights = centerness(wanted)  # (P,)
        pos_points = points[:, :2].expand(len(labels), -1, -1)[positive]  # (P, 2)
        bboxes = self.bbox_coder.decode(pos_points, flatten_levels(distances, 4)[positive])
        scores = flatten_levels(cls_scores, self.cls_out_channels).float()
        return dict(
            loss_cls=self.loss_cls(scores.flatten(0, 1), labels.flatten(), avg_factor=num_pos),
            loss_bbox=self.loss_bbox(
                bboxes,
                self.bbox_coder.decode(pos_points, wanted),
                weights,
                avg_factor=shared_factor(weights.sum(), points, least=1e-6),
            ),
            loss_centerness=self.loss_centerness(
                flatten_levels(centers, 1).float().squeeze(-1)[positive], weights, avg_factor=num_pos
            ),
        )

    @torch.no_grad()
    def targets(self, points: Tensor, ranges: Tensor, gts: Instances) -> tuple[Tensor, Tensor]:
        """Labels (N,) and distances (N, 4), in the unit of the predictions, for the points of one image.

        Of several objects around a point, it is responsible for the smallest.

        Args:
            points: (N, 4) x, y, stride_w, stride_h.
            ranges: (N, 2) pixels.
        """
        assert gts.labels is not None
        if not len(gts):
            return torch.full_like(points[:, 0], self.num_classes, dtype=torch.long), torch.zeros_like(points)
        sides = bbox2distance(points[:, None, :2], gts.bboxes)  # (N, G, 4)
        inside = (self._sides_of_middle(points, gts.bboxes) if self.center_sampling else sides).amin(-1) > 0
        farthest = sides.amax(-1)
        in_range = (farthest >= ranges[:, :1]) & (farthest <= ranges[:, 1:])
        areas = (gts.bboxes[:, 2:] - gts.bboxes[:, :2]).prod(dim=1).expand_as(farthest)
        least, index = areas.masked_fill(~(inside & in_range), float('inf')).min(dim=1)
        labels = gts.labels[index].masked_fill(least == float('inf'), self.num_classes)
        distances = sides[torch.arange(len(points), device=points.device), index]
        return labels, distances / points[:, 2:3] if self.norm_on_bbox else distances

    def _sides_of_middle(self, points: Tensor, gt_bboxes: Tensor) -> Tensor:
        """(N, G, 4) distances to the sides of a square in the middle of each object, as far as that covers it."""
        centers = (gt_bboxes[:, :2] + gt_bboxes[:, 2:]) / 2
        reach = self.center_sample_radius * points[:, None, 2:]
        middle = torch.cat(
            [torch.maximum(centers - reach, gt_bboxes[:, :2]), torch.minimum(centers + reach, gt_bboxes[:, 2:])], dim=-1
        )
        return bbox2distance(points[:, None, :2], middle)

    # ------------------------------------------------------------------ prediction

    def predict(
        self,
        outs: Outs,
        metas: Sequence[ImageMeta],
        cfg: Mapping[str, Any] | PostProcessing | None = None,
        rescale: bool = True,
    ) -> list[Instances]:
        """Detections of each image; a score is that of the class times the centerness."""
        settings = PostProcessing.from_cfg(cfg if cfg is not None else self.test_cfg)
        cls_scores, distances, centers = outs
        points = self.points(cls_scores)
        scores = [self.probabilities(flatten_level(x.detach().float(), self.cls_out_channels)) for x in cls_scores]
        factors = [flatten_level(x.detach().float(), 1).squeeze(-1).sigmoid() for x in centers]

        def decode(level: int, inds: Tensor, preds: Tensor, img_shape: tuple[int, int]) -> Tensor:
            chosen = points[level][inds]
            pixels = preds * chosen[:, 2:3] if self.norm_on_bbox else preds
            return self.bbox_coder.decode(chosen[:, :2], pixels, img_shape)

        preds = [flatten_level(x.detach(), 4) for x in distances]
        return detect(scores, preds, decode, metas, settings, rescale, factors)

    def probabilities(self, scores: Tensor) -> Tensor:
        """(..., cls_out_channels) raw scores -> (..., C) probabilities without background."""
        return scores.sigmoid() if self.use_sigmoid_cls else scores.softmax(dim=-1)[..., : self.num_classes]
