"""Head of generalized focal loss, arXiv:2006.04388."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from mmkit.bbox import bbox_centers, bbox_overlaps
from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.layers import Scale
from mmkit.models.dense_heads.anchor.base_anchor_head import AnchorHeadArgs, BaseAnchorHead
from mmkit.models.dense_heads.detections import LevelPredictions
from mmkit.models.dense_heads.levels import featmap_sizes, flatten_level, flatten_levels, shared_factor
from mmkit.models.dense_heads.towers import apply_convs, conv_tower
from mmkit.models.losses import QualityFocalLoss
from mmkit.registry import HEADS, LOSSES, Cfg, build_from_cfg
from mmkit.structures import Batch


class GFLOuts(NamedTuple):
    """Raw predictions of each level: scores (B, C, H, W) and logits of distances (B, 4*(reg_max+1), H, W)."""

    cls_scores: list[Tensor]
    distance_logits: list[Tensor]


class Integral(nn.Module):
    """Mean of a distribution over the integers 0 .. `reg_max`.

    Args:
        reg_max: the greatest of them.
    """

    project: Tensor

    def __init__(self, reg_max: int = 16) -> None:
        super().__init__()
        self.reg_max = reg_max
        self.register_buffer('project', torch.linspace(0, reg_max, reg_max + 1))

    def forward(self, logits: Tensor) -> Tensor:
        """(..., 4 * (reg_max + 1)) logits -> (..., 4) means."""
        # Not a matrix product, which autocast would take to half precision.
        distributions = logits.reshape(*logits.shape[:-1], 4, self.reg_max + 1).softmax(dim=-1)
        return (distributions * self.project).sum(dim=-1)


@HEADS.register_module()
class GFLHead(BaseAnchorHead[GFLOuts]):
    """Class scores trained to be the IoU, and distances to the sides as distributions; one anchor in every cell.

    Args:
        stacked_convs: convolutions in each of the two towers.
        conv_cfg, norm_cfg: kinds of layer of the towers.
        loss_dfl: on the distributions.
        reg_max: distances go up to this many strides.

    Others as in `BaseAnchorHead`; `loss_cls` is a `QualityFocalLoss`, and `bbox_coder` decodes points and distances.
    """

    defaults = AnchorHeadArgs(
        anchor_generator=dict(
            type='AnchorGenerator', ratios=[1.0], octave_base_scale=8, scales_per_octave=1, strides=[8, 16, 32, 64, 128]
        ),
        bbox_coder=dict(type='DistancePointBBoxCoder'),
        reg_decoded_bbox=True,
        loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0, loss_weight=1.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
        init_cfg=dict(
            type='Normal',
            layer='Conv2d',
            std=0.01,
            override=dict(type='Normal', name='gfl_cls', std=0.01, bias_prob=0.01),
        ),
    )
    takes_sampler = False
    in_channels: int

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        stacked_convs: int = 4,
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg | None = dict(type='GN', num_groups=32, requires_grad=True),
        loss_dfl: Cfg = dict(type='DistributionFocalLoss', loss_weight=0.25),
        reg_max: int = 16,
        **kwargs: Unpack[AnchorHeadArgs],
    ) -> None:
        self.stacked_convs = stacked_convs
        self.conv_cfg = conv_cfg
        self.norm_cfg = norm_cfg
        self.reg_max = reg_max
        super().__init__(num_classes, in_channels, **(self.defaults | kwargs))
        if not self.reg_decoded_bbox:
            raise InvalidValueError(
                'GFLHead: reg_decoded_bbox=False is not supported, the box loss compares boxes', key='reg_decoded_bbox'
            )
        if not isinstance(self.loss_cls, QualityFocalLoss):
            kind = type(self.loss_cls).__name__
            raise InvalidTypeError(
                f'GFLHead: loss_cls is a QualityFocalLoss, whose targets are qualities, got {kind}', key='loss_cls'
            )
        self.loss_dfl: nn.Module = build_from_cfg(loss_dfl, LOSSES)
        self.integral = Integral(reg_max)

    def _init_layers(self) -> None:
        if self.num_base_priors != 1:
            raise InvalidValueError(
                f'GFLHead: one anchor a cell, but anchor_generator makes {self.num_base_priors}', key='anchor_generator'
            )
        if any(width != height for width, height in self.prior_generator.strides):
            raise InvalidValueError(
                f'GFLHead: strides must be square, got {self.prior_generator.strides}', key='anchor_generator'
            )

        def tower() -> nn.ModuleList:
            return conv_tower(self.in_channels, self.feat_channels, self.stacked_convs, self.conv_cfg, self.norm_cfg)

        self.cls_convs, self.reg_convs = tower(), tower()
        self.gfl_cls = nn.Conv2d(self.feat_channels, self.cls_out_channels, 3, padding=1)
        self.gfl_reg = nn.Conv2d(self.feat_channels, 4 * (self.reg_max + 1), 3, padding=1)
        self.scales = nn.ModuleList(Scale(1.0) for _ in self.prior_generator.strides)

    def forward(self, feats: Sequence[Tensor]) -> GFLOuts:
        """Features (B, in_channels, H, W) of each level -> scores and logits of distances."""
        outs = GFLOuts([], [])
        for feat, scale in zip(feats, self.scales, strict=True):
            outs.cls_scores.append(self.gfl_cls(apply_convs(self.cls_convs, feat)))
            outs.distance_logits.append(scale(self.gfl_reg(apply_convs(self.reg_convs, feat))).float())
        return outs

    def points(self, anchors: Sequence[Tensor]) -> list[Tensor]:
        """(N_l, 4) x, y, stride, stride of the centres of the anchors of each level."""
        levels = zip(anchors, self.prior_generator.strides, strict=True)
        return [torch.cat([bbox_centers(a), a.new_tensor(stride).expand(len(a), 2)], dim=1) for a, stride in levels]

    def loss(self, outs: GFLOuts, batch: Batch) -> dict[str, Tensor]:
        cls_scores, distance_logits = outs
        levels = self.anchors(cls_scores)
        anchors = torch.cat(levels)  # (N, 4)
        targets = self.targets(anchors, featmap_sizes(cls_scores), batch)
        scores = flatten_levels(cls_scores, self.cls_out_channels).float()  # (B, N, C)
        logits = flatten_levels(distance_logits, 4 * (self.reg_max + 1))  # (B, N, 4 * (reg_max + 1))

        positive = targets.labels < self.num_classes  # (B, N) with P positives
        pos_points = torch.cat(self.points(levels)).expand(*positive.shape, 4)[positive]  # (P, 4)
        # From here on the unit is the stride of the level.
        points = pos_points[:, :2] / pos_points[:, 2:]  # (P, 2)
        pos_gts = targets.bbox_targets[positive] / pos_points[:, 2:3]  # (P, 4)
        boxes = self.bbox_coder.decode(points, self.integral(logits[positive]))
        distances = self.bbox_coder.encode(points, pos_gts).clamp(0, self.reg_max - 0.1)  # (P, 4)
        quality = torch.zeros_like(targets.label_weights)  # (B, N)
        quality[positive] = bbox_overlaps(boxes.detach(), pos_gts, is_aligned=True)
        weights = scores.detach()[positive].sigmoid().amax(dim=1)  # (P,) confident predictions must fit better
        avg_factor = shared_factor(weights.sum(), anchors)
        loss_cls = self.loss_cls(
            scores.flatten(0, 1),
            (targets.labels.flatten(), quality.flatten()),
            targets.label_weights.flatten(),
            avg_factor=shared_factor(targets.num_pos, anchors),
        )
        loss_dfl = self.loss_dfl(
            logits[positive].reshape(-1, self.reg_max + 1),
            distances.reshape(-1),
            weights.repeat_interleave(4),
            avg_factor=4 * avg_factor,
        )
        loss_bbox = self.loss_bbox(boxes, pos_gts, weights, avg_factor=avg_factor)
        return dict(loss_cls=loss_cls, loss_bbox=loss_bbox, loss_dfl=loss_dfl)

    def level_predictions(self, outs: GFLOuts) -> list[LevelPredictions]:
        cls_scores, distance_logits = outs
        logits = [flatten_level(each.detach(), 4 * (self.reg_max + 1)) for each in distance_logits]
        levels = zip(self.class_probabilities(cls_scores), logits, self.points(self.anchors(cls_scores)), strict=True)
        return [LevelPredictions(*level) for level in levels]

    def decode_boxes(self, priors: Tensor, box_preds: Tensor, img_shape: tuple[int, int]) -> Tensor:
        """(N, 4) boxes from points with strides (N, 4) and logits of distances (N, 4 * (reg_max + 1))."""
        return self.bbox_coder.decode(priors[:, :2], self.integral(box_preds) * priors[:, 2:3], img_shape)
