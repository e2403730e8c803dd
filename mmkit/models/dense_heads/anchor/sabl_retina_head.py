"""RetinaNet's head with side-aware boundary localization, arXiv:1912.04260."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmkit.bbox.coders import BucketingBBoxCoder
from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.layers.init import InitCfg
from mmkit.models.dense_heads.anchor.approxs import build_approx_generator, cells_inside, grid_approxs
from mmkit.models.dense_heads.anchor.base_anchor_head import AnchorTargets, AnchorTraining, BaseAnchorHead
from mmkit.models.dense_heads.detections import LevelPredictions
from mmkit.models.dense_heads.levels import featmap_sizes, flatten_level, flatten_levels
from mmkit.models.dense_heads.towers import apply_convs, conv_tower
from mmkit.registry import HEADS, LOSSES, Cfg, build_from_cfg
from mmkit.structures import Batch, ImageMeta, Instances


class SABLOuts(NamedTuple):
    """Raw predictions of each level: scores (B, C, H, W), and of S buckets of each side scores and offsets.

    These are (B, 4 * S, H, W).
    """

    cls_scores: list[Tensor]
    bucket_scores: list[Tensor]
    offsets: list[Tensor]


@HEADS.register_module()
class SABLRetinaHead(BaseAnchorHead[SABLOuts]):
    """RetinaNet's towers, and for each side of a box its bucket and its offset; one square a cell.

    Args:
        stacked_convs: convolutions in each tower.
        approx_anchor_generator: several anchors a cell, which stand for its square in the assignment.
        square_anchor_generator: one square a cell.
        conv_cfg, norm_cfg: kinds of layer of the towers.
        bbox_coder: a `BucketingBBoxCoder`.
        reg_decoded_bbox: must be False.
        loss_bbox_cls, loss_bbox_reg: of buckets, a sigmoid cross entropy, and of offsets.

    Others as in `BaseAnchorHead`.
    """

    known_info = ('num_level_bboxes', 'approxs')
    in_channels: int

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        *,
        stacked_convs: int = 4,
        feat_channels: int = 256,
        approx_anchor_generator: Cfg = dict(
            type='AnchorGenerator',
            octave_base_scale=4,
            scales_per_octave=3,
            ratios=[0.5, 1.0, 2.0],
            strides=[8, 16, 32, 64, 128],
        ),
        square_anchor_generator: Cfg = dict(
            type='AnchorGenerator', ratios=[1.0], scales=[4], strides=[8, 16, 32, 64, 128]
        ),
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg | None = None,
        bbox_coder: Cfg = dict(type='BucketingBBoxCoder', num_buckets=14, scale_factor=3.0),
        reg_decoded_bbox: bool = False,
        train_cfg: Cfg | None = None,
        test_cfg: Cfg | None = None,
        loss_cls: Cfg = dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox_cls: Cfg = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.5),
        loss_bbox_reg: Cfg = dict(type='SmoothL1Loss', beta=1.0 / 9.0, loss_weight=1.5),
        init_cfg: InitCfg = dict(
            type='Normal',
            layer='Conv2d',
            std=0.01,
            override=dict(type='Normal', name='retina_cls', std=0.01, bias_prob=0.01),
        ),
    ) -> None:
        if reg_decoded_bbox:
            raise InvalidValueError(
                'SABLRetinaHead: its targets are buckets, reg_decoded_bbox=True is not supported',
                key='reg_decoded_bbox',
            )
        self.stacked_convs = stacked_convs
        self.conv_cfg = conv_cfg
        self.norm_cfg = norm_cfg
        super().__init__(
            num_classes=num_classes,
            in_channels=in_channels,
            feat_channels=feat_channels,
            anchor_generator=square_anchor_generator,
            bbox_coder=bbox_coder,
            reg_decoded_bbox=True,  # targets are boxes, which `loss` encodes
            loss_cls=loss_cls,
            loss_bbox=loss_bbox_reg,
            train_cfg=train_cfg,
            test_cfg=test_cfg,
            init_cfg=init_cfg,
        )
        self.approx_generator = build_approx_generator(approx_anchor_generator, self.prior_generator)
        self.loss_bbox_cls: nn.Module = build_from_cfg(loss_bbox_cls, LOSSES)

    def _init_layers(self) -> None:
        coder: object = self.bbox_coder
        if not isinstance(coder, BucketingBBoxCoder):
            message = f'SABLRetinaHead: bbox_coder is a BucketingBBoxCoder, got {type(coder).__name__}'
            raise InvalidTypeError(message, key='bbox_coder')
        self.buckets = coder
        channels = self.feat_channels

        def tower() -> nn.ModuleList:
            return conv_tower(self.in_channels, channels, self.stacked_convs, self.conv_cfg, self.norm_cfg)

        self.cls_convs, self.reg_convs = tower(), tower()
        self.retina_cls = nn.Conv2d(channels, self.cls_out_channels, 3, padding=1)
        self.retina_bbox_reg = nn.Conv2d(channels, 4 * coder.side_num, 3, padding=1)
        self.retina_bbox_cls = nn.Conv2d(channels, 4 * coder.side_num, 3, padding=1)

    def forward(self, feats: Sequence[Tensor]) -> SABLOuts:
        """Features (B, in_channels, H, W) of each level -> scores, buckets and offsets."""
        outs = SABLOuts([], [], [])
        for feat in feats:
            reg_feat = apply_convs(self.reg_convs, feat)
            outs.cls_scores.append(self.retina_cls(apply_convs(self.cls_convs, feat)))
            outs.bucket_scores.append(self.retina_bbox_cls(reg_feat))
            outs.offsets.append(self.retina_bbox_reg(reg_feat))
        return outs

    # ------------------------------------------------------------------ training

    def loss(self, outs: SABLOuts, batch: Batch) -> dict[str, Tensor]:
        squares = torch.cat(self.anchors(outs.cls_scores))  # (N, 4)
        targets = self.targets(squares, featmap_sizes(outs.cls_scores), batch)
        scores = flatten_levels(outs.cls_scores, self.cls_out_channels).float()  # (B, N, C)
        num = self.avg_factor(targets)

        positive = targets.labels < self.num_classes  # (B, N) with P positives
        pos_squares = squares.expand(len(positive), -1, -1)[positive]
        wanted, weights = self.buckets.encode_weighted(pos_squares, targets.bbox_targets[positive])
        side_num = self.buckets.side_num
        preds = torch.cat(
            [flatten_levels(each, 4 * side_num).float()[positive] for each in (outs.bucket_scores, outs.offsets)], dim=1
        )
        (bucket_preds, offsets), (buckets, wanted_offsets), (bucket_weights, offset_weights) = (
            self.buckets.split(each) for each in (preds, wanted, weights)
        )  # (P, 4, S) each
        loss_cls = self.loss_cls(
            scores.flatten(0, 1), targets.labels.flatten(), targets.label_weights.flatten(), avg_factor=num
        )
        loss_bbox_cls = self.loss_bbox_cls(
            bucket_preds.flatten(0, 1),
            buckets.flatten(0, 1),
            bucket_weights.flatten(0, 1),
            avg_factor=num * 4 * side_num,
        )
        loss_bbox_reg = self.loss_bbox(
            offsets, wanted_offsets, offset_weights, avg_factor=num * 4 * self.buckets.offset_topk
        )
        return dict(loss_cls=loss_cls, loss_bbox_cls=loss_bbox_cls, loss_bbox_reg=loss_bbox_reg)

    def _image_targets(
        self,
        anchors: Tensor,
        sizes: Sequence[tuple[int, int]],
        gts: Instances,
        ignored: Tensor | None,
        meta: ImageMeta,
        settings: AnchorTraining,
    ) -> AnchorTargets:
        approxs = grid_approxs(self.approx_generator, sizes, anchors.device)
        inside = cells_inside(approxs, self.prior_generator, sizes, meta, settings.allowed_border)
        return self._assigned_targets(anchors, inside, gts, ignored, settings, approxs)

    # ------------------------------------------------------------------ prediction

    def level_predictions(self, outs: SABLOuts) -> list[LevelPredictions]:
        """Factors on the scores tell how sure the buckets are."""
        levels = zip(self.class_probabilities(outs.cls_scores), outs.bucket_scores, outs.offsets, strict=True)
        predictions = []
        for (scores, *parts), squares in zip(levels, self.anchors(outs.cls_scores), strict=True):
            preds = torch.cat([flatten_level(each.detach().float(), each.shape[1]) for each in parts], dim=2)
            predictions.append(LevelPredictions(scores, preds, squares, self.buckets.confidence(preds)))
        return predictions
