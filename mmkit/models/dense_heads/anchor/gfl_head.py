"""Head of generalized focal loss, arXiv:2006.04388."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.bbox import bbox_overlaps
from mmkit.layers import Scale
from mmkit.models.dense_heads.anchor.anchor_head import AnchorHead
from mmkit.models.dense_heads.levels import (
    PostProcessing,
    detect,
    featmap_sizes,
    flatten_level,
    flatten_levels,
    shared_factor,
)
from mmkit.models.dense_heads.towers import apply_convs, conv_tower
from mmkit.models.losses import QualityFocalLoss
from mmkit.registry import HEADS, LOSSES, build_from_cfg
from mmkit.structures import Batch, ImageMeta, Instances


class Integral(nn.Module):
    """The mean of a distribution over the integers 0 .. `reg_max`.

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
        return (logits.unflatten(-1, (4, self.reg_max + 1)).softmax(dim=-1) * self.project).sum(dim=-1)


@HEADS.register_module()
class GFLHead(AnchorHead):
    """Class scores that foretell the IoU, and distances to the sides as distributions; one anchor on every cell.

    Args:
        stacked_convs: convolutions in each of the two towers.
        conv_cfg, norm_cfg: kinds of layer of the towers.
        loss_cls: a `QualityFocalLoss`.
        loss_dfl: on the distributions.
        bbox_coder: from points and distances to boxes.
        reg_max: distances go up to this many strides.

    Others as in `AnchorHead`.
    """

    takes_sampler = False

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        stacked_convs: int = 4,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = dict(type='GN', num_groups=32, requires_grad=True),
        loss_dfl: Mapping[str, Any] = dict(type='DistributionFocalLoss', loss_weight=0.25),
        bbox_coder: Mapping[str, Any] = dict(type='DistancePointBBoxCoder'),
        reg_max: int = 16,
        init_cfg: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = dict(
            type='Normal',
            layer='Conv2d',
            std=0.01,
            override=dict(type='Normal', name='gfl_cls', std=0.01, bias_prob=0.01),
        ),
        feat_channels: int = 256,
        anchor_generator: Mapping[str, Any] = dict(
            type='AnchorGenerator', ratios=[1.0], octave_base_scale=8, scales_per_octave=1, strides=[8, 16, 32, 64, 128]
        ),
        loss_cls: Mapping[str, Any] = dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0, loss_weight=1.0),
        loss_bbox: Mapping[str, Any] = dict(type='GIoULoss', loss_weight=2.0),
        reg_decoded_bbox: bool = True,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        if not reg_decoded_bbox:
            raise ValueError('GFLHead: reg_decoded_bbox=False is not supported, the box loss compares boxes')
        self.stacked_convs = stacked_convs
        self.conv_cfg = conv_cfg
        self.norm_cfg = norm_cfg
        self.reg_max = reg_max
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
        if not isinstance(self.loss_cls, QualityFocalLoss):
            kind = type(self.loss_cls).__name__
            raise TypeError(f'GFLHead: loss_cls is a QualityFocalLoss, whose targets are qualities, got {kind}')
        self.loss_dfl = build_from_cfg(loss_dfl, LOSSES)
        self.integral = Integral(reg_max)

    def _init_layers(self) -> None:
        if self.num_base_priors != 1:
            raise ValueError(f'GFLHead: one anchor a cell, but anchor_generator makes {self.num_base_priors}')
        if any(width != height for width, height in self.prior_generator.strides):
            raise ValueError(f'GFLHead: strides must be square, got {self.prior_generator.strides}')
        tower = (self.in_channels, self.feat_channels, self.stacked_convs, self.conv_cfg, self.norm_cfg)
        self.cls_convs = conv_tower(*tower)
        self.reg_convs = conv_tower(*tower)
        self.gfl_cls = nn.Conv2d(self.feat_channels, self.cls_out_channels, 3, padding=1)
        self.gfl_reg = nn.Conv2d(self.feat_channels, 4 * (self.reg_max + 1), 3, padding=1)
        self.scales = nn.ModuleList(Scale(1.0) for _ in self.prior_generator.strides)

    def forward(self, feats: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Features of each level -> scores (B, C, H, W) and logits of distances (B, 4*(reg_max+1), H, W)."""
        cls_scores, logits = [], []
        for feat, scale in zip(feats, self.scales, strict=True):
            cls_scores.append(self.gfl_cls(apply_convs(self.cls_convs, feat)))
            logits.append(scale(self.gfl_reg(apply_convs(self.reg_convs, feat))).float())
        return cls_scores, logits

    def loss(self, outs: tuple[list[Tensor], list[Tensor]], batch: Batch) -> dict[str, Tensor]:
        cls_scores, logits = outs
        levels = self.anchors(cls_scores)
        anchors = torch.cat(levels)  # (N, 4)
        targets = self.targets(anchors, featmap_sizes(cls_scores), batch)
        scores = flatten_levels(cls_scores, self.cls_out_channels).float()  # (B, N, C)

        positive = targets.labels < self.num_classes  # (B, N) with P positives
        image, prior = positive.nonzero(as_tuple=True)
        # From here on the unit is the stride of the level.
        strides = torch.cat([a.new_full((len(a), 1), s) for a, (s, _) in zip(levels, self.prior_generator.strides)])
        points = centers_of(anchors)[prior] / strides[prior]  # (P, 2)
        pos_gts = targets.bbox_targets[positive] / strides[prior]  # (P, 4)
        pos_logits = flatten_levels(logits, 4 * (self.reg_max + 1))[image, prior]
        bboxes = self.bbox_coder.decode(points, self.integral(pos_logits))
        distances = self.bbox_coder.encode(points, pos_gts, self.reg_max)  # (P, 4)

        quality = torch.zeros_like(targets.label_weights)  # (B, N)
        quality[positive] = bbox_overlaps(bboxes.detach(), pos_gts, is_aligned=True)
        weights = scores.detach()[image, prior].sigmoid().amax(dim=1)  # (P,) sure predictions must fit better
        avg_factor = shared_factor(weights.sum(), anchors)
        return dict(
            loss_cls=self.loss_cls(
                scores.flatten(0, 1),
                (targets.labels.flatten(), quality.flatten()),
                targets.label_weights.flatten(),
                avg_factor=shared_factor(targets.num_pos, anchors),
            ),
            loss_bbox=self.loss_bbox(bboxes, pos_gts, weights, avg_factor=avg_factor),
            loss_dfl=self.loss_dfl(
                pos_logits.reshape(-1, self.reg_max + 1),
                distances.reshape(-1),
                weights.repeat_interleave(4),
                avg_factor=4 * avg_factor,
            ),
        )

    def predict(
        self,
        outs: tuple[list[Tensor], list[Tensor]],
        metas: Sequence[ImageMeta],
        cfg: Mapping[str, Any] | PostProcessing | None = None,
        rescale: bool = True,
    ) -> list[Instances]:
        """Detections of each image; `cfg` overrides the head's `test_cfg`."""
        settings = PostProcessing.from_cfg(cfg if cfg is not None else self.test_cfg)
        cls_scores, logits = outs
        points = [centers_of(level) for level in self.anchors(cls_scores)]
        scores = [self.probabilities(flatten_level(x.detach().float(), self.cls_out_channels)) for x in cls_scores]

        def decode(level: int, inds: Tensor, preds: Tensor, img_shape: tuple[int, int]) -> Tensor:
            distances = self.integral(preds) * self.prior_generator.strides[level][0]
            return self.bbox_coder.decode(points[level][inds], distances, img_shape)

        preds = [flatten_level(x.detach(), 4 * (self.reg_max + 1)) for x in logits]
        return detect(scores, preds, decode, metas, settings, rescale)


def centers_of(anchors: Tensor) -> Tensor:
    """(N, 2) x, y of the middle of (N, 4) boxes."""
    return (anchors[:, :2] + anchors[:, 2:]) / 2
