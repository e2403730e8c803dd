"""YOLOX's head, arXiv:2107.08430."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.bbox import cxcywh_to_xyxy, xyxy_to_cxcywh
from mmkit.bbox.priors import MlvlPointGenerator
from mmkit.layers import BaseModule, ConvModule, DepthwiseSeparableConvModule, bias_init_with_prob
from mmkit.models.dense_heads.levels import (
    PostProcessing,
    featmap_sizes,
    finish_predictions,
    flatten_levels,
    shared_factor,
)
from mmkit.models.dense_heads.training_settings import dense_assigner, refuse_sampler
from mmkit.models.settings import warn_unknown_settings
from mmkit.registry import HEADS, LOSSES, build_from_cfg
from mmkit.structures import Batch, ImageMeta, Instances

Outs = tuple[list[Tensor], list[Tensor], list[Tensor]]


@dataclass
class YOLOXTargets:
    """What the N priors of one image should say, P of them positive."""

    positive: Tensor  # (N,) bool
    scores: Tensor  # (P, C) the IoU at the right class
    bboxes: Tensor  # (P, 4)
    offsets: Tensor  # (P, 4) as they are predicted: shift of the centre and log of the sides, in strides


@HEADS.register_module()
class YOLOXHead(BaseModule):
    """Two branches for each level; one box for each point, scored by class times objectness.

    Args:
        num_classes: C.
        in_channels: channels of every level.
        feat_channels: width of the branches.
        stacked_convs: convolutions of a branch.
        strides: of the levels, in pixels.
        use_depthwise: make those convolutions depthwise separable.
        dcn_on_last_conv: the last convolution of each branch is deformable.
        conv_bias: of the branches; 'auto': only without a norm layer.
        conv_cfg, norm_cfg, act_cfg: kinds of layer.
        loss_cls, loss_bbox, loss_obj: of classes, boxes and objectness; the reduction must be 'sum'.
        loss_l1: of the raw predictions of boxes, used once `use_l1` is set.
        train_cfg: `assigner`, a `SimOTAAssigner`.
        test_cfg: see `PostProcessing`; a box has only its best class, which must score at least `score_thr`.

    Attributes:
        use_l1: False at first; `YOLOXModeSwitchHook` sets it for the last epochs.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        feat_channels: int = 256,
        stacked_convs: int = 2,
        strides: Sequence[int] = (8, 16, 32),
        use_depthwise: bool = False,
        dcn_on_last_conv: bool = False,
        conv_bias: bool | str = 'auto',
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = dict(type='BN', momentum=0.03, eps=0.001),
        act_cfg: Mapping[str, Any] | None = dict(type='Swish'),
        loss_cls: Mapping[str, Any] = dict(type='CrossEntropyLoss', use_sigmoid=True, reduction='sum', loss_weight=1.0),
        loss_bbox: Mapping[str, Any] = dict(type='IoULoss', mode='square', eps=1e-16, reduction='sum', loss_weight=5.0),
        loss_obj: Mapping[str, Any] = dict(type='CrossEntropyLoss', use_sigmoid=True, reduction='sum', loss_weight=1.0),
        loss_l1: Mapping[str, Any] = dict(type='L1Loss', reduction='sum', loss_weight=1.0),
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        init_cfg: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = dict(
            type='Kaiming',
            layer='Conv2d',
            a=math.sqrt(5),
            distribution='uniform',
            mode='fan_in',
            nonlinearity='leaky_relu',
        ),
    ) -> None:
        super().__init__(init_cfg)
        self.num_classes = num_classes
        self.strides = list(strides)
        self.use_l1 = False
        self.loss_cls = build_from_cfg(loss_cls, LOSSES)
        self.loss_bbox = build_from_cfg(loss_bbox, LOSSES)
        self.loss_obj = build_from_cfg(loss_obj, LOSSES)
        self.loss_l1 = build_from_cfg(loss_l1, LOSSES)
        self.prior_generator = MlvlPointGenerator(self.strides, offset=0)
        self.test_cfg = PostProcessing.from_cfg(test_cfg) if test_cfg else None
        if train_cfg:
            warn_unknown_settings(train_cfg, ('assigner', 'sampler'), 'train_cfg')
            refuse_sampler(train_cfg, type(self).__name__)
            self.assigner = dense_assigner(train_cfg, type(self).__name__, ['scores', 'priors'])

        block = DepthwiseSeparableConvModule if use_depthwise else ConvModule
        kinds = dict(norm_cfg=norm_cfg, act_cfg=act_cfg, bias=conv_bias)

        def branch() -> nn.Sequential:
            layers = []
            for i in range(stacked_convs):
                cfg = dict(type='DCNv2') if dcn_on_last_conv and i == stacked_convs - 1 else conv_cfg
                width = in_channels if i == 0 else feat_channels
                layers.append(block(width, feat_channels, 3, padding=1, conv_cfg=cfg, **kinds))
            return nn.Sequential(*layers)

        def predictor(channels: int) -> nn.ModuleList:
            return nn.ModuleList(nn.Conv2d(feat_channels, channels, 1) for _ in self.strides)

        self.multi_level_cls_convs = nn.ModuleList(branch() for _ in self.strides)
        self.multi_level_reg_convs = nn.ModuleList(branch() for _ in self.strides)
        self.multi_level_conv_cls = predictor(num_classes)
        self.multi_level_conv_reg = predictor(4)
        self.multi_level_conv_obj = predictor(1)

    def init_weights(self) -> None:
        """At the start every class and every object is improbable."""
        super().init_weights()
        for conv in [*self.multi_level_conv_cls, *self.multi_level_conv_obj]:
            nn.init.constant_(conv.bias, bias_init_with_prob(0.01))

    def forward(self, feats: Sequence[Tensor]) -> Outs:
        """Features of each level -> class logits (B, C, H, W), boxes (B, 4, H, W), objectness logits (B, 1, H, W)."""
        cls_scores, bbox_preds, objectness = [], [], []
        for level, feat in enumerate(feats):
            reg_feat = self.multi_level_reg_convs[level](feat)
            cls_scores.append(self.multi_level_conv_cls[level](self.multi_level_cls_convs[level](feat)))
            bbox_preds.append(self.multi_level_conv_reg[level](reg_feat))
            objectness.append(self.multi_level_conv_obj[level](reg_feat))
        return cls_scores, bbox_preds, objectness

    def priors(self, outputs: Sequence[Tensor]) -> Tensor:
        """(N, 4) x, y, stride_w, stride_h of all levels of `outputs`; x, y is the upper left corner of the cell."""
        return torch.cat(
            self.prior_generator.grid_priors(featmap_sizes(outputs), torch.float32, outputs[0].device, with_stride=True)
        )

    @staticmethod
    def decode(priors: Tensor, preds: Tensor) -> Tensor:
        """(..., 4) boxes of priors (..., 4) from predicted shifts of the centre and logs of the sides (..., 4)."""
        centers = preds[..., :2] * priors[..., 2:] + priors[..., :2]
        return cxcywh_to_xyxy(torch.cat([centers, preds[..., 2:].exp() * priors[..., 2:]], dim=-1))

    # ------------------------------------------------------------------ training

    def loss(self, outs: Outs, batch: Batch) -> dict[str, Tensor]:
        assert batch.gts is not None
        priors = self.priors(outs[0])  # (N, 4)
        scores = flatten_levels(outs[0], self.num_classes).float()  # (B, N, C)
        preds = flatten_levels(outs[1], 4).float()  # (B, N, 4)
        objectness = flatten_levels(outs[2], 1).float()  # (B, N, 1)
        bboxes = self.decode(priors, preds)
        probs = scores.detach().sigmoid() * objectness.detach().sigmoid()
        found = [self.targets(priors, bboxes.detach()[index], probs[index], gts) for index, gts in enumerate(batch.gts)]
        positive = torch.stack([each.positive for each in found])  # (B, N) with P positives
        num_pos = shared_factor(positive.sum(), priors)
        wanted = torch.cat([each.scores for each in found])
        losses = dict(
            loss_cls=self.loss_cls(scores[positive], wanted) / num_pos,
            loss_bbox=self.loss_bbox(bboxes[positive], torch.cat([each.bboxes for each in found])) / num_pos,
            loss_obj=self.loss_obj(objectness.flatten(0, 1), positive.flatten()[:, None].float()) / num_pos,
        )
        if self.use_l1:
            offsets = torch.cat([each.offsets for each in found])
            losses['loss_l1'] = self.loss_l1(preds[positive], offsets) / num_pos
        return losses

    @torch.no_grad()
    def targets(self, priors: Tensor, bboxes: Tensor, probs: Tensor, gts: Instances) -> YOLOXTargets:
        """Targets of one image from its predicted boxes (N, 4) and probabilities (N, C)."""
        middles = torch.cat([priors[:, :2] + priors[:, 2:] * 0.5, priors[:, 2:]], dim=1)
        assignment = self.assigner.assign(bboxes, gts, scores=probs, priors=middles)
        positive = assignment.gt_inds >= 0
        chosen = gts[assignment.gt_inds[positive]]
        assert chosen.labels is not None
        ious = assignment.max_overlaps[positive]
        pos_priors, size = priors[positive], xyxy_to_cxcywh(chosen.bboxes)
        shift = (size[:, :2] - pos_priors[:, :2]) / pos_priors[:, 2:]
        return YOLOXTargets(
            positive=positive,
            scores=F.one_hot(chosen.labels, self.num_classes) * ious[:, None],
            bboxes=chosen.bboxes,
            offsets=torch.cat([shift, (size[:, 2:] / pos_priors[:, 2:] + 1e-8).log()], dim=1),
        )

    # ------------------------------------------------------------------ prediction

    def predict(
        self,
        outs: Outs,
        metas: Sequence[ImageMeta],
        cfg: Mapping[str, Any] | PostProcessing | None = None,
        rescale: bool = True,
    ) -> list[Instances]:
        """Detections of each image; `cfg` overrides the head's `test_cfg`."""
        settings = PostProcessing.from_cfg(cfg if cfg is not None else self.test_cfg)
        cls_scores, bbox_preds, objectness = ([x.detach().float() for x in level_outs] for level_outs in outs)
        bboxes = self.decode(self.priors(cls_scores), flatten_levels(bbox_preds, 4))  # (B, N, 4)
        best, labels = flatten_levels(cls_scores, self.num_classes).sigmoid().max(dim=-1)  # (B, N)
        scores = best * flatten_levels(objectness, 1).sigmoid().squeeze(-1)
        found = []
        for index, meta in enumerate(metas):
            keep = scores[index] >= settings.score_thr
            found.append(
                finish_predictions(
                    bboxes[index][keep], scores[index][keep], labels[index][keep], meta, settings, rescale
                )
            )
        return found
