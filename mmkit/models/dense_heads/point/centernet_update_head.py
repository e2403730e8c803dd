"""The first stage of CenterNet2, arXiv:2103.07461: CenterNet (arXiv:1904.07850) on the levels of a pyramid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmkit.bbox import bbox2distance, bbox_centers, bbox_overlaps, distance2bbox
from mmkit.bbox.priors import MlvlPointGenerator
from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.layers import BaseModule, Scale
from mmkit.layers.init import InitCfg
from mmkit.models.dense_heads.base_dense_head import BaseDenseHead
from mmkit.models.dense_heads.detections import LevelPredictions, PostProcessing
from mmkit.models.dense_heads.levels import featmap_sizes, flatten_level, flatten_levels, shared_factor
from mmkit.models.dense_heads.towers import apply_convs, conv_tower
from mmkit.models.losses import GaussianFocalLoss
from mmkit.protocols import BoxCoder
from mmkit.registry import BBOX_CODERS, HEADS, LOSSES, Cfg, build_from_cfg
from mmkit.structures import Batch, Instances


class CenterNetUpdateOuts(NamedTuple):
    """Predictions of each level: class logits (B, C, H, W), and distances (B, 4, H, W) in strides, not below 0."""

    cls_scores: list[Tensor]
    distances: list[Tensor]


class HeatmapTargets(NamedTuple):
    """Training targets of the N points of one image."""

    heatmap: Tensor  # (N, C), 1 at the centre of an object of the class, falling off around it
    peaks: Tensor  # (N, C), how many objects of the class have the point as a positive example
    distances: Tensor  # (N, 4), in strides
    regressed: Tensor  # (N,) bool, points that regress a box


class _Pairs(NamedTuple):
    """Relations of the N points with the G objects of one image."""

    sides: Tensor  # (N, G, 4) distances to the sides of the object, in pixels
    spread: Tensor  # (N, G) squared distance to the centre, in radii of the object's Gaussian; 0 at the peak
    at_peak: Tensor  # (N, G) bool: the point of the cell that holds the centre
    near: Tensor  # (N, G) bool: the cell is that one or touches it, on a level whose range the object fits


@HEADS.register_module()
class CenterNetUpdateHead(BaseDenseHead[CenterNetUpdateOuts], BaseModule):
    """Class heat maps with a peak at the centre of every object, and distances to its sides around the peak.

    Args:
        num_classes: C.
        in_channels: channels of every input level.
        regress_ranges: (low, high) in pixels for each level, within which half the diagonal of an object must be.
        hm_min_radius: least radius of an object's Gaussian, in pixels.
        hm_min_overlap: the Gaussian's radius keeps boxes shifted by it at this IoU with the object.
        more_pos_thresh: neighbours of the peak are positive, too, if the box predicted there has a lower GIoU loss.
        more_pos_topk: fewer than this many points of an object are positive.
        soft_weight_on_reg: weight the box loss of a point by its height on the heat map.
        loss_cls: a `GaussianFocalLoss`.
        loss_bbox: compares boxes.
        norm_cfg, conv_cfg, conv_bias: of the towers; conv_bias 'auto': only without a norm layer.
        feat_channels, stacked_convs: width and length of the towers.
        strides: of the levels, in pixels.
        dcn_on_last_conv: the last convolution of each tower is deformable.
        bbox_coder: from points and distances to boxes.
        train_cfg: has no effect.
        test_cfg: see `PostProcessing`.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        *,
        regress_ranges: Sequence[Sequence[float]] = ((0, 80), (64, 160), (128, 320), (256, 640), (512, 1e8)),
        hm_min_radius: float = 4,
        hm_min_overlap: float = 0.8,
        more_pos_thresh: float = 0.2,
        more_pos_topk: int = 9,
        soft_weight_on_reg: bool = False,
        loss_cls: Cfg = dict(type='GaussianFocalLoss', pos_weight=0.25, neg_weight=0.75, loss_weight=1.0),
        loss_bbox: Cfg = dict(type='GIoULoss', loss_weight=2.0),
        norm_cfg: Cfg | None = dict(type='GN', num_groups=32, requires_grad=True),
        init_cfg: InitCfg = dict(
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
        bbox_coder: Cfg = dict(type='DistancePointBBoxCoder'),
        conv_cfg: Cfg | None = None,
        train_cfg: Cfg | None = None,
        test_cfg: Cfg | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if len(regress_ranges) != len(strides):
            message = f'CenterNetUpdateHead: {len(regress_ranges)} regress_ranges for {len(strides)} strides'
            raise InvalidValueError(message, key='regress_ranges')
        loss: nn.Module = build_from_cfg(loss_cls, LOSSES)
        if not isinstance(loss, GaussianFocalLoss):
            message = f'CenterNetUpdateHead: loss_cls is a GaussianFocalLoss on heat maps, got {type(loss).__name__}'
            raise InvalidTypeError(message, key='loss_cls')
        self.loss_cls = loss
        self.loss_bbox: nn.Module = build_from_cfg(loss_bbox, LOSSES)
        self.bbox_coder: BoxCoder = build_from_cfg(bbox_coder, BBOX_CODERS)
        self.num_classes = num_classes
        self.regress_ranges = regress_ranges
        self.min_radius = hm_min_radius
        self.radius_factor = 2**0.5 * (1 - hm_min_overlap) / (1 + hm_min_overlap)
        self.more_pos_thresh = more_pos_thresh
        self.more_pos_topk = more_pos_topk
        self.soft_weight_on_reg = soft_weight_on_reg
        self.prior_generator = MlvlPointGenerator(strides)
        self.test_cfg = PostProcessing.from_cfg(test_cfg) if test_cfg else None

        def tower() -> nn.ModuleList:
            return conv_tower(
                in_channels,
                feat_channels,
                stacked_convs,
                conv_cfg=conv_cfg,
                norm_cfg=norm_cfg,
                bias=conv_bias,
                last_conv_cfg=dict(type='DCNv2') if dcn_on_last_conv else None,
            )

        self.cls_convs, self.reg_convs = tower(), tower()
        self.conv_cls = nn.Conv2d(feat_channels, num_classes, 3, padding=1)
        self.conv_reg = nn.Conv2d(feat_channels, 4, 3, padding=1)
        self.scales = nn.ModuleList(Scale(1.0) for _ in strides)

    def forward(self, feats: Sequence[Tensor]) -> CenterNetUpdateOuts:
        """Features (B, in_channels, H, W) of each level -> class logits and distances."""
        outs = CenterNetUpdateOuts([], [])
        for feat, scale in zip(feats, self.scales, strict=True):
            outs.cls_scores.append(self.conv_cls(apply_convs(self.cls_convs, feat)))
            outs.distances.append(scale(self.conv_reg(apply_convs(self.reg_convs, feat))).float().clamp(min=0))
        return outs

    def points(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        """(H*W, 4) x, y, stride_w, stride_h of each level of `outputs`."""
        return self.prior_generator.grid_priors(
            featmap_sizes(outputs), torch.float32, outputs[0].device, with_stride=True
        )

    # ------------------------------------------------------------------ training

    def loss(self, outs: CenterNetUpdateOuts, batch: Batch) -> dict[str, Tensor]:
        assert batch.gts is not None
        levels = self.points(outs.cls_scores)
        points = torch.cat(levels)  # (N, 4)
        ranges = torch.cat(
            [level.new_tensor(pair).expand(len(level), 2) for level, pair in zip(levels, self.regress_ranges)]
        )
        probs = flatten_levels(outs.cls_scores, self.num_classes).float().sigmoid()  # (B, N, C)
        distances = flatten_levels(outs.distances, 4)  # (B, N, 4)
        targets = [self.targets(points, ranges, preds, gts) for preds, gts in zip(distances, batch.gts, strict=True)]
        heatmap, peaks, distance_targets, regressed = (torch.stack(each) for each in zip(*targets, strict=True))

        weights = heatmap.amax(dim=-1)[regressed]  # (P,)
        if not self.soft_weight_on_reg:
            weights = torch.ones_like(weights)
        origin = points.new_zeros(len(weights), 2)
        loss_cls = self.loss_cls(probs, heatmap, avg_factor=shared_factor(peaks.sum(), points), peaks=peaks)
        loss_bbox = self.loss_bbox(
            self.bbox_coder.decode(origin, distances[regressed]),
            self.bbox_coder.decode(origin, distance_targets[regressed]),
            weights,
            avg_factor=shared_factor(weights.sum(), points),
        )
        return dict(loss_cls=loss_cls, loss_bbox=loss_bbox)

    @torch.no_grad()
    def targets(self, points: Tensor, ranges: Tensor, preds: Tensor, gts: Instances) -> HeatmapTargets:
        """Targets of the points of one image.

        Args:
            points: (N, 4) x, y, stride_w, stride_h.
            ranges: (N, 2) pixels.
            preds: (N, 4) predicted distances, in strides.
        """
        assert gts.labels is not None
        heatmap = points.new_zeros(len(points), self.num_classes)
        if not len(gts):
            nothing = torch.zeros_like(points)
            return HeatmapTargets(heatmap, heatmap, nothing, nothing.any(dim=1))
        pairs = self._relate(points, ranges, gts.bboxes)
        heights = (-pairs.spread).exp()  # (N, G)
        heatmap = heatmap.scatter_reduce(1, gts.labels.expand_as(heights), heights, 'amax')
        allowed = pairs.near & (pairs.sides.amin(dim=-1) > 0)
        nearest, index = pairs.spread.masked_fill(~allowed, float('inf')).min(dim=1)
        distances = pairs.sides[torch.arange(len(points), device=points.device), index] / points[:, 2:3]
        inds, objects = self._positives(pairs, points, preds).nonzero(as_tuple=True)
        peaks = torch.zeros_like(heatmap)
        peaks.index_put_((inds, gts.labels[objects]), peaks.new_ones(len(inds)), accumulate=True)
        return HeatmapTargets(heatmap.masked_fill(heatmap < 1e-4, 0), peaks, distances, nearest.isfinite())

    def _relate(self, points: Tensor, ranges: Tensor, gt_bboxes: Tensor) -> _Pairs:
        centers, spans = bbox_centers(gt_bboxes), gt_bboxes[:, 2:] - gt_bboxes[:, :2]
        position, stride = points[:, None, :2], points[:, None, 2:]
        away = (position - ((centers / stride).floor() + 0.5) * stride).abs()  # (N, G, 2) from the peak
        at_peak = (away == 0).all(dim=-1)
        squared = (position - centers).square().sum(dim=-1).masked_fill(at_peak, 0)
        radii = (self.radius_factor * spans.prod(dim=1).sqrt()).clamp(min=self.min_radius)  # (G,)
        half_diagonals = spans.norm(dim=1) / 2
        fits = (half_diagonals >= ranges[:, :1]) & (half_diagonals <= ranges[:, 1:])
        near = (away <= stride).all(dim=-1) & fits
        return _Pairs(bbox2distance(position, gt_bboxes), squared / radii.square(), at_peak & fits, near)

    def _positives(self, pairs: _Pairs, points: Tensor, preds: Tensor) -> Tensor:
        """(N, G) bool: the peaks, and those of the points near them that predict the object best already."""
        inds, objects = pairs.near.nonzero(as_tuple=True)
        expected = (pairs.sides[inds, objects] / points[inds, 2:3]).clamp(min=0)
        origin = expected.new_zeros(len(expected), 2)
        overlaps = bbox_overlaps(
            distance2bbox(origin, preds[inds]), distance2bbox(origin, expected), mode='giou', is_aligned=True
        )
        losses = torch.full_like(pairs.spread, float('inf'))
        losses[inds, objects] = 1 - overlaps
        losses[pairs.at_peak] = 0
        kth = losses.kthvalue(min(self.more_pos_topk, len(losses)), dim=0).values  # (G,)
        return losses < kth.clamp(max=self.more_pos_thresh)

    # ------------------------------------------------------------------ prediction

    def level_predictions(self, outs: CenterNetUpdateOuts) -> list[LevelPredictions]:
        return [
            LevelPredictions(
                flatten_level(scores.detach().float(), self.num_classes).sigmoid(),
                flatten_level(distances.detach(), 4),
                points,
            )
            for scores, distances, points in zip(*outs, self.points(outs.cls_scores), strict=True)
        ]

    def decode_boxes(self, priors: Tensor, box_preds: Tensor, img_shape: tuple[int, int]) -> Tensor:
        """(N, 4) boxes from points with strides (N, 4) and distances in strides (N, 4)."""
        return self.bbox_coder.decode(priors[:, :2], box_preds * priors[:, 2:3], img_shape)
