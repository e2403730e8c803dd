"""FCOS's head, arXiv:1904.01355."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple, TypedDict

import torch
from torch import Tensor, nn

from mmkit.bbox import bbox2distance, bbox_centers
from mmkit.bbox.priors import MlvlPointGenerator
from mmkit.errors import InvalidValueError
from mmkit.layers import BaseModule, Scale
from mmkit.layers.init import InitCfg
from mmkit.models.dense_heads.base_dense_head import BaseDenseHead
from mmkit.models.dense_heads.detections import LevelPredictions, PostProcessing
from mmkit.models.dense_heads.levels import (
    centerness,
    featmap_sizes,
    flatten_level,
    flatten_levels,
    probabilities,
    shared_factor,
)
from mmkit.models.dense_heads.towers import apply_convs, conv_tower
from mmkit.models.losses import uses_sigmoid
from mmkit.protocols import BoxCoder
from mmkit.registry import BBOX_CODERS, HEADS, LOSSES, Cfg, build_from_cfg
from mmkit.structures import Batch, Instances


class FCOSOuts(NamedTuple):
    """Predictions of each level: scores (B, C, H, W), distances (B, 4, H, W) and centerness logits (B, 1, H, W).

    Distances are in strides with `norm_on_bbox`, else in pixels. CondInst's head adds the parameters (B, P, H, W) of
    mask convolutions.
    """

    cls_scores: list[Tensor]
    distances: list[Tensor]
    centernesses: list[Tensor]
    kernels: Sequence[Tensor] = ()


class FCOSTargets(NamedTuple):
    """Training targets of the N points of one image, or with a dimension B before it of several."""

    labels: Tensor  # (N,) int64, C for the background
    distances: Tensor  # (N, 4) in the unit of the predictions
    gt_inds: Tensor  # (N,) int64, the object of a point that isn't background


class FCOSHeadArgs(TypedDict, total=False):
    """Arguments of `FCOSHead` besides `num_classes` and `in_channels`, which its variants take, too."""

    regress_ranges: Sequence[Sequence[float]]
    center_sampling: bool
    center_sample_radius: float
    norm_on_bbox: bool
    centerness_on_reg: bool
    loss_cls: Cfg
    loss_bbox: Cfg
    loss_centerness: Cfg
    norm_cfg: Cfg | None
    init_cfg: InitCfg
    feat_channels: int
    stacked_convs: int
    strides: Sequence[int]
    dcn_on_last_conv: bool
    conv_bias: bool | str
    bbox_coder: Cfg
    conv_cfg: Cfg | None
    train_cfg: Cfg | None
    test_cfg: Cfg | None


@HEADS.register_module()
class FCOSHead(BaseDenseHead[FCOSOuts], BaseModule):
    """Class scores of the points of every level, and distances to the sides of the object around them.

    Args:
        num_classes: C, without background.
        in_channels: channels of every input level.
        regress_ranges: (low, high) in pixels for each level, within which the greatest of the four distances must be.
        center_sampling: only points in a square around the centre of an object are positive.
        center_sample_radius: half the side of the central square, in strides.
        norm_on_bbox: distances are predicted in strides, not below 0; otherwise as logarithms of pixels.
        centerness_on_reg: predict centerness from the box tower instead of the class tower.
        loss_cls, loss_bbox, loss_centerness: configs or built objects; the box loss compares boxes.
        norm_cfg, conv_cfg, conv_bias: of the towers; conv_bias 'auto': only without a norm layer.
        feat_channels, stacked_convs: width and length of the towers.
        strides: of the levels, in pixels.
        dcn_on_last_conv: the last convolution of each tower is deformable.
        bbox_coder: from points and distances to boxes.
        train_cfg: has no effect, as ranges and centres decide.
        test_cfg: see `post_processing`.

    Attributes:
        post_processing: the dataclass of `test_cfg`.
    """

    post_processing: ClassVar[type[PostProcessing]] = PostProcessing

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        regress_ranges: Sequence[Sequence[float]] = ((-1, 64), (64, 128), (128, 256), (256, 512), (512, 1e8)),
        center_sampling: bool = False,
        center_sample_radius: float = 1.5,
        norm_on_bbox: bool = False,
        centerness_on_reg: bool = False,
        loss_cls: Cfg = dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox: Cfg = dict(type='IoULoss', loss_weight=1.0),
        loss_centerness: Cfg = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
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
            raise InvalidValueError(
                f'FCOSHead: {len(regress_ranges)} regress_ranges for {len(strides)} strides', key='regress_ranges'
            )
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.feat_channels = feat_channels
        self.strides = list(strides)
        self.regress_ranges = regress_ranges
        self.center_sampling = center_sampling
        self.center_sample_radius = center_sample_radius
        self.norm_on_bbox = norm_on_bbox
        self.centerness_on_reg = centerness_on_reg
        self.loss_cls: nn.Module = build_from_cfg(loss_cls, LOSSES)
        self.loss_bbox: nn.Module = build_from_cfg(loss_bbox, LOSSES)
        self.loss_centerness: nn.Module = build_from_cfg(loss_centerness, LOSSES)
        self.use_sigmoid_cls = uses_sigmoid(self.loss_cls)
        self.cls_out_channels = num_classes if self.use_sigmoid_cls else num_classes + 1
        self.bbox_coder: BoxCoder = build_from_cfg(bbox_coder, BBOX_CODERS)
        self.prior_generator = MlvlPointGenerator(self.strides)
        self.test_cfg = self.post_processing.from_cfg(test_cfg) if test_cfg else None

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
        self.conv_cls = nn.Conv2d(feat_channels, self.cls_out_channels, 3, padding=1)
        self.conv_reg = nn.Conv2d(feat_channels, 4, 3, padding=1)
        self.conv_centerness = nn.Conv2d(feat_channels, 1, 3, padding=1)
        self.scales = nn.ModuleList(Scale(1.0) for _ in self.strides)

    def forward(self, feats: Sequence[Tensor]) -> FCOSOuts:
        """Features (B, in_channels, H, W) of each level -> scores, distances and centerness logits."""
        outs = FCOSOuts([], [], [])
        for feat, scale in zip(feats, self.scales, strict=True):
            self.forward_single(feat, scale, outs)
        return outs

    def forward_single(self, feat: Tensor, scale: nn.Module, outs: FCOSOuts) -> Tensor:
        """Add the predictions of one level to `outs`; returns the features from which boxes were predicted."""
        cls_feat, reg_feat = apply_convs(self.cls_convs, feat), apply_convs(self.reg_convs, feat)
        outs.cls_scores.append(self.conv_cls(cls_feat))
        outs.centernesses.append(self.conv_centerness(reg_feat if self.centerness_on_reg else cls_feat))
        raw = scale(self.conv_reg(reg_feat)).float()
        outs.distances.append(raw.clamp(min=0) if self.norm_on_bbox else raw.exp())
        return reg_feat

    def points(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        """(H*W, 4) x, y, stride_w, stride_h of each level of `outputs`."""
        return self.prior_generator.grid_priors(
            featmap_sizes(outputs), torch.float32, outputs[0].device, with_stride=True
        )

    # ------------------------------------------------------------------ training

    def loss(self, outs: FCOSOuts, batch: Batch) -> dict[str, Tensor]:
        return self.losses(outs, self.batch_targets(outs, batch))

    def batch_targets(self, outs: FCOSOuts, batch: Batch) -> FCOSTargets:
        """Targets of the points of all images, (B, N, ...)."""
        assert batch.gts is not None
        levels = self.points(outs[0])
        points = torch.cat(levels)  # (N, 4)
        ranges = torch.cat(
            [level.new_tensor(pair).expand(len(level), 2) for level, pair in zip(levels, self.regress_ranges)]
        )
        targets = [self.targets(points, ranges, gts) for gts in batch.gts]
        return FCOSTargets(*(torch.stack(each) for each in zip(*targets, strict=True)))

    def losses(self, outs: FCOSOuts, targets: FCOSTargets) -> dict[str, Tensor]:
        """`loss_cls`, `loss_bbox` and `loss_centerness` against the targets of all images."""
        cls_scores, distances, centernesses = outs[:3]
        points = torch.cat(self.points(cls_scores))  # (N, 4)
        labels = targets.labels  # (B, N)
        scores = flatten_levels(cls_scores, self.cls_out_channels).float()  # (B, N, C)
        center_logits = flatten_levels(centernesses, 1).float().squeeze(-1)  # (B, N)

        positive = labels < self.num_classes  # (B, N) with P positives
        num_pos = shared_factor(positive.sum(), points)
        pos_points = points[:, :2].expand(len(labels), -1, -1)[positive]  # (P, 2)
        pos_targets = targets.distances[positive]  # (P, 4)
        center_targets = centerness(pos_targets)  # (P,)
        loss_cls = self.loss_cls(scores.flatten(0, 1), labels.flatten(), avg_factor=num_pos)
        loss_bbox = self.loss_bbox(
            self.bbox_coder.decode(pos_points, flatten_levels(distances, 4)[positive]),
            self.bbox_coder.decode(pos_points, pos_targets),
            center_targets,
            avg_factor=shared_factor(center_targets.sum(), points, least=1e-6),
        )
        loss_centerness = self.loss_centerness(center_logits[positive], center_targets, avg_factor=num_pos)
        return dict(loss_cls=loss_cls, loss_bbox=loss_bbox, loss_centerness=loss_centerness)

    @torch.no_grad()
    def targets(self, points: Tensor, ranges: Tensor, gts: Instances) -> FCOSTargets:
        """Targets of the points of one image. A point inside several objects belongs to the smallest.

        Args:
            points: (N, 4) x, y, stride_w, stride_h.
            ranges: (N, 2) pixels.
        """
        assert gts.labels is not None
        if not len(gts):
            background = torch.full_like(points[:, 0], self.num_classes, dtype=torch.long)
            return FCOSTargets(background, torch.zeros_like(points), torch.zeros_like(background))
        sides = bbox2distance(points[:, None, :2], gts.bboxes)  # (N, G, 4)
        inside = (self._central_sides(points, gts.bboxes) if self.center_sampling else sides).amin(-1) > 0
        farthest = sides.amax(-1)
        in_range = (farthest >= ranges[:, :1]) & (farthest <= ranges[:, 1:])
        areas = (gts.bboxes[:, 2:] - gts.bboxes[:, :2]).prod(dim=1).expand_as(farthest)
        least, index = areas.masked_fill(~(inside & in_range), float('inf')).min(dim=1)
        labels = gts.labels[index].masked_fill(least == float('inf'), self.num_classes)
        distances = sides[torch.arange(len(points), device=points.device), index]
        return FCOSTargets(labels, distances / points[:, 2:3] if self.norm_on_bbox else distances, index)

    def _central_sides(self, points: Tensor, gt_bboxes: Tensor) -> Tensor:
        """(N, G, 4) distances to the sides of the central square of each object, clipped to the object."""
        centers = bbox_centers(gt_bboxes)
        reach = self.center_sample_radius * points[:, None, 2:]
        square = torch.cat(
            [torch.maximum(centers - reach, gt_bboxes[:, :2]), torch.minimum(centers + reach, gt_bboxes[:, 2:])], dim=-1
        )
        return bbox2distance(points[:, None, :2], square)

    # ------------------------------------------------------------------ prediction

    def level_predictions(self, outs: FCOSOuts) -> list[LevelPredictions]:
        """A score is that of the class times the centerness."""
        levels = []
        for scores, distances, centernesses, points in zip(*outs[:3], self.points(outs[0]), strict=True):
            logits = flatten_level(scores.detach().float(), self.cls_out_channels)
            factors = flatten_level(centernesses.detach().float(), 1).squeeze(-1).sigmoid()
            box_preds = flatten_level(distances.detach(), 4)
            levels.append(LevelPredictions(probabilities(logits, self.use_sigmoid_cls), box_preds, points, factors))
        return levels

    def decode_boxes(self, priors: Tensor, box_preds: Tensor, img_shape: tuple[int, int]) -> Tensor:
        """(N, 4) boxes from points with strides (N, 4) and distances (N, 4)."""
        pixels = box_preds * priors[:, 2:3] if self.norm_on_bbox else box_preds
        return self.bbox_coder.decode(priors[:, :2], pixels, img_shape)
