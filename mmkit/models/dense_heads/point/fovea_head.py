"""FoveaBox's head, arXiv:1904.03797."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmkit.bbox.priors import MlvlPointGenerator
from mmkit.errors import InvalidValueError
from mmkit.layers import BaseModule, ConvModule
from mmkit.layers.init import InitCfg
from mmkit.models.dense_heads.base_dense_head import BaseDenseHead
from mmkit.models.dense_heads.detections import LevelPredictions, PostProcessing
from mmkit.models.dense_heads.feature_adaption import FeatureAdaption
from mmkit.models.dense_heads.levels import (
    featmap_sizes,
    flatten_level,
    flatten_levels,
    probabilities,
    shared_factor,
)
from mmkit.models.dense_heads.towers import apply_convs, conv_tower
from mmkit.models.losses import uses_sigmoid
from mmkit.registry import HEADS, LOSSES, Cfg, build_from_cfg
from mmkit.structures import Batch, Instances

# Distances to the sides, in edges of the level, lie between the two.
_LEAST, _MOST = 1 / 16, 16


class FoveaOuts(NamedTuple):
    """Predictions of each level: scores (B, C, H, W), and logarithms of distances in base edges (B, 4, H, W)."""

    cls_scores: list[Tensor]
    bbox_preds: list[Tensor]


@HEADS.register_module()
class FoveaHead(BaseDenseHead[FoveaOuts], BaseModule):
    """Class scores of the points of every level, and distances to the sides of the object.

    Points in the middle of an object learn it, on each level whose range of sizes holds it.

    Args:
        num_classes: C, without background.
        in_channels: channels of every input level.
        feat_channels, stacked_convs: width and length of the towers.
        strides: of the levels, in pixels.
        base_edge_list: unit of the distances on each level, in pixels.
        scale_ranges: (low, high) of the square root of the area of a level's objects, in pixels.
        sigma: side of the middle of an object, in sides of the object.
        with_deform: align features with the predicted boxes before the classification.
        deform_groups: of that alignment.
        loss_cls, loss_bbox: configs or built objects; the box loss compares logarithms of distances.
        conv_cfg, norm_cfg, conv_bias: of the towers; conv_bias 'auto': only without a norm layer.
        train_cfg: has no effect, as sizes and middles decide.
        test_cfg: see `PostProcessing`.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        *,
        feat_channels: int = 256,
        stacked_convs: int = 4,
        strides: Sequence[int] = (4, 8, 16, 32, 64),
        base_edge_list: Sequence[float] = (16, 32, 64, 128, 256),
        scale_ranges: Sequence[Sequence[float]] = ((8, 32), (16, 64), (32, 128), (64, 256), (128, 512)),
        sigma: float = 0.4,
        with_deform: bool = False,
        deform_groups: int = 4,
        loss_cls: Cfg = dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox: Cfg = dict(type='SmoothL1Loss', beta=0.11, loss_weight=1.0),
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg | None = None,
        conv_bias: bool | str = 'auto',
        train_cfg: Cfg | None = None,
        test_cfg: Cfg | None = None,
        init_cfg: InitCfg = dict(
            type='Normal',
            layer='Conv2d',
            std=0.01,
            override=dict(type='Normal', name='conv_cls', std=0.01, bias_prob=0.01),
        ),
    ) -> None:
        super().__init__(init_cfg)
        for key, values in (('base_edge_list', base_edge_list), ('scale_ranges', scale_ranges)):
            if len(values) != len(strides):
                raise InvalidValueError(f'FoveaHead: {len(values)} {key} for {len(strides)} strides', key=key)
        self.num_classes = num_classes
        self.strides = list(strides)
        self.base_edge_list = list(base_edge_list)
        self.scale_ranges = scale_ranges
        self.sigma = sigma
        self.with_deform = with_deform
        self.loss_cls: nn.Module = build_from_cfg(loss_cls, LOSSES)
        self.loss_bbox: nn.Module = build_from_cfg(loss_bbox, LOSSES)
        self.use_sigmoid_cls = uses_sigmoid(self.loss_cls)
        self.cls_out_channels = num_classes if self.use_sigmoid_cls else num_classes + 1
        self.prior_generator = MlvlPointGenerator(self.strides)
        self.test_cfg = PostProcessing.from_cfg(test_cfg) if test_cfg else None

        def tower() -> nn.ModuleList:
            return conv_tower(
                in_channels, feat_channels, stacked_convs, conv_cfg=conv_cfg, norm_cfg=norm_cfg, bias=conv_bias
            )

        self.reg_convs = tower()
        self.conv_reg = nn.Conv2d(feat_channels, 4, 3, padding=1)
        if with_deform:
            wide = 4 * feat_channels
            self.feature_adaption = FeatureAdaption(
                feat_channels, feat_channels, deform_groups=deform_groups, shape_channels=4
            )
            self.cls_convs = nn.ModuleList(
                ConvModule(
                    channels, wide, size, padding=size // 2, conv_cfg=conv_cfg, norm_cfg=norm_cfg, bias=conv_bias
                )
                for channels, size in ((feat_channels, 3), (wide, 1))
            )
            self.conv_cls = nn.Conv2d(wide, self.cls_out_channels, 3, padding=1)
        else:
            self.cls_convs = tower()
            self.conv_cls = nn.Conv2d(feat_channels, self.cls_out_channels, 3, padding=1)

    def forward(self, feats: Sequence[Tensor]) -> FoveaOuts:
        """Features (B, in_channels, H, W) of each level -> scores and logarithms of distances."""
        outs = FoveaOuts([], [])
        for feat in feats:
            bbox_pred = self.conv_reg(apply_convs(self.reg_convs, feat))
            cls_feat = self.feature_adaption(feat, bbox_pred.exp()) if self.with_deform else feat
            outs.cls_scores.append(self.conv_cls(apply_convs(self.cls_convs, cls_feat)))
            outs.bbox_preds.append(bbox_pred)
        return outs

    def priors(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        """(H*W, 3) x, y and base edge, in pixels, of each level of `outputs`."""
        points = self.prior_generator.grid_priors(featmap_sizes(outputs), torch.float32, outputs[0].device)
        levels = zip(points, self.base_edge_list, strict=True)
        return [torch.cat([level, level.new_full((len(level), 1), edge)], dim=1) for level, edge in levels]

    # ------------------------------------------------------------------ training

    def loss(self, outs: FoveaOuts, batch: Batch) -> dict[str, Tensor]:
        assert batch.gts is not None
        cls_scores, bbox_preds = outs
        targets = [self.targets(cls_scores, gts) for gts in batch.gts]
        labels = torch.stack([image_labels for image_labels, _ in targets])  # (B, N)
        scores = flatten_levels(cls_scores, self.cls_out_channels).float()  # (B, N, C)
        preds = flatten_levels(bbox_preds, 4).float()  # (B, N, 4)
        positive = labels < self.num_classes  # (B, N) with P positives
        wanted = torch.stack([image_targets for _, image_targets in targets])[positive]  # (P, 4)
        loss_cls = self.loss_cls(
            scores.flatten(0, 1),
            labels.flatten(),
            avg_factor=shared_factor(positive.sum() + len(labels), scores),
        )
        loss_bbox = self.loss_bbox(preds[positive], wanted, avg_factor=shared_factor(positive.sum(), scores))
        return dict(loss_cls=loss_cls, loss_bbox=loss_bbox)

    @torch.no_grad()
    def targets(self, outputs: Sequence[Tensor], gts: Instances) -> tuple[Tensor, Tensor]:
        """Labels (N,) and logarithms of distances (N, 4) for the points of one image.

        A point in the middle of several objects belongs to the smallest.

        Args:
            outputs: of each level, for the sizes of the levels.
            gts: the objects.
        """
        assert gts.labels is not None
        priors = torch.cat(self.priors(outputs))  # (N, 3)
        if not len(gts):
            labels = torch.full_like(priors[:, 0], self.num_classes, dtype=torch.long)
            return labels, priors.new_zeros(len(priors), 4)
        middles = zip(self.strides, self.scale_ranges, featmap_sizes(outputs), strict=True)
        inside = torch.cat([self._in_middle(gts.bboxes, *level) for level in middles])  # (N, G)
        areas = (gts.bboxes[:, 2:] - gts.bboxes[:, :2]).prod(dim=1).expand_as(inside)
        least, index = areas.masked_fill(~inside, float('inf')).min(dim=1)  # (N,)
        labels = gts.labels[index].masked_fill(least == float('inf'), self.num_classes)
        boxes = gts.bboxes[index]  # (N, 4)
        distances = torch.cat([priors[:, :2] - boxes[:, :2], boxes[:, 2:] - priors[:, :2]], dim=1) / priors[:, 2:]
        return labels, distances.clamp(_LEAST, _MOST).log()

    def _in_middle(self, bboxes: Tensor, stride: int, scale_range: Sequence[float], size: tuple[int, int]) -> Tensor:
        """(H*W, G) bool: the cells of a level of `size` (height, width) in the middle of the level's objects."""
        low, high = scale_range
        scales = (bboxes[:, 2:] - bboxes[:, :2]).prod(dim=1).sqrt()  # (G,)
        corners = bboxes / stride
        centers, reach = (corners[:, :2] + corners[:, 2:]) / 2, self.sigma * (corners[:, 2:] - corners[:, :2]) / 2
        last = bboxes.new_tensor([size[1] - 1, size[0] - 1])
        first_cell = (centers - reach - 0.5).ceil().clamp(min=0).minimum(last)  # (G, 2) column, row
        last_cell = (centers + reach - 0.5).floor().clamp(min=0).minimum(last)
        rows, columns = (torch.arange(each, device=bboxes.device) for each in size)
        cells = torch.stack(torch.meshgrid(columns, rows, indexing='xy'), dim=-1).reshape(-1, 1, 2)  # (H*W, 1, 2)
        inside = ((cells >= first_cell) & (cells <= last_cell)).all(dim=-1)
        return inside & (scales >= low) & (scales <= high)

    # ------------------------------------------------------------------ prediction

    def level_predictions(self, outs: FoveaOuts) -> list[LevelPredictions]:
        cls_scores, bbox_preds = outs
        levels = []
        for scores, preds, priors in zip(cls_scores, bbox_preds, self.priors(cls_scores), strict=True):
            logits = flatten_level(scores.detach().float(), self.cls_out_channels)
            box_preds = flatten_level(preds.detach().float(), 4)
            levels.append(LevelPredictions(probabilities(logits, self.use_sigmoid_cls), box_preds, priors))
        return levels

    def decode_boxes(self, priors: Tensor, box_preds: Tensor, img_shape: tuple[int, int]) -> Tensor:
        """(N, 4) boxes from points with base edges (N, 3) and logarithms of distances (N, 4)."""
        distances = box_preds.exp() * priors[:, 2:]
        boxes = torch.cat([priors[:, :2] - distances[:, :2], priors[:, :2] + distances[:, 2:]], dim=1)
        height, width = img_shape[:2]
        last = boxes.new_tensor([width - 1, height - 1, width - 1, height - 1])
        return boxes.clamp(min=0).minimum(last)
