"""YOLOX's head, arXiv:2107.08430."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.bbox import cxcywh_to_xyxy, xyxy_to_cxcywh
from mmkit.bbox.priors import MlvlPointGenerator
from mmkit.layers import BaseModule, ConvModule, DepthwiseSeparableConvModule, bias_init_with_prob
from mmkit.layers.init import InitCfg
from mmkit.models.dense_heads.base_dense_head import BaseDenseHead
from mmkit.models.dense_heads.detections import LevelPredictions, PostProcessing, finish_predictions
from mmkit.models.dense_heads.levels import featmap_sizes, flatten_level, flatten_levels, shared_factor
from mmkit.models.dense_heads.training_settings import DenseTraining
from mmkit.models.settings import required
from mmkit.registry import HEADS, LOSSES, Cfg, build_from_cfg
from mmkit.structures import Batch, ImageMeta, Instances, PriorInfo


class YOLOXOuts(NamedTuple):
    """Raw predictions of each level: class logits (B, C, H, W), boxes (B, 4, H, W), objectness logits (B, 1, H, W)."""

    cls_scores: list[Tensor]
    bbox_preds: list[Tensor]
    objectnesses: list[Tensor]


@dataclass
class YOLOXTargets:
    """Training targets of the N priors of one image, P of them positive."""

    positive: Tensor  # (N,) bool
    scores: Tensor  # (P, C) the IoU at the class of the object
    bboxes: Tensor  # (P, 4)
    offsets: Tensor  # (P, 4) raw predictions of the box: shift of the centre and log of the sides, in strides


@HEADS.register_module()
class YOLOXHead(BaseDenseHead[YOLOXOuts], BaseModule):
    """Two branches for each level; one box for each cell, scored by class times objectness.

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
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg | None = dict(type='BN', momentum=0.03, eps=0.001),
        act_cfg: Cfg | None = dict(type='Swish'),
        loss_cls: Cfg = dict(type='CrossEntropyLoss', use_sigmoid=True, reduction='sum', loss_weight=1.0),
        loss_bbox: Cfg = dict(type='IoULoss', mode='square', eps=1e-16, reduction='sum', loss_weight=5.0),
        loss_obj: Cfg = dict(type='CrossEntropyLoss', use_sigmoid=True, reduction='sum', loss_weight=1.0),
        loss_l1: Cfg = dict(type='L1Loss', reduction='sum', loss_weight=1.0),
        train_cfg: Cfg | None = None,
        test_cfg: Cfg | None = None,
        init_cfg: InitCfg = dict(
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
        self.loss_cls: nn.Module = build_from_cfg(loss_cls, LOSSES)
        self.loss_bbox: nn.Module = build_from_cfg(loss_bbox, LOSSES)
        self.loss_obj: nn.Module = build_from_cfg(loss_obj, LOSSES)
        self.loss_l1: nn.Module = build_from_cfg(loss_l1, LOSSES)
        self.prior_generator = MlvlPointGenerator(self.strides, offset=0)
        self.test_cfg = PostProcessing.from_cfg(test_cfg) if test_cfg else None
        self.train_cfg = None
        if train_cfg:
            self.train_cfg = DenseTraining.from_cfg(
                train_cfg, type(self).__name__, known=['scores', 'points'], takes_sampler=False
            )

        block = DepthwiseSeparableConvModule if use_depthwise else ConvModule
        kinds: dict[str, Any] = dict(norm_cfg=norm_cfg, act_cfg=act_cfg, bias=conv_bias)

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
        """Biases for a start at which every class and every object is improbable."""
        super().init_weights()
        for conv in [*self.multi_level_conv_cls.children(), *self.multi_level_conv_obj.children()]:
            assert isinstance(conv, nn.Conv2d) and conv.bias is not None
            nn.init.constant_(conv.bias, bias_init_with_prob(0.01))

    def forward(self, feats: Sequence[Tensor]) -> YOLOXOuts:
        """Features (B, in_channels, H, W) of each level -> class logits, raw boxes and objectness logits."""
        outs = YOLOXOuts([], [], [])
        for level, feat in enumerate(feats):
            reg_feat = self.multi_level_reg_convs[level](feat)
            outs.cls_scores.append(self.multi_level_conv_cls[level](self.multi_level_cls_convs[level](feat)))
            outs.bbox_preds.append(self.multi_level_conv_reg[level](reg_feat))
            outs.objectnesses.append(self.multi_level_conv_obj[level](reg_feat))
        return outs

    def priors(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        """(H*W, 4) x, y, stride_w, stride_h of each level of `outputs`; x, y is the upper left corner of the cell."""
        return self.prior_generator.grid_priors(
            featmap_sizes(outputs), torch.float32, outputs[0].device, with_stride=True
        )

    @staticmethod
    def raw_to_boxes(priors: Tensor, preds: Tensor) -> Tensor:
        """(..., 4) boxes of priors (..., 4) from predicted shifts of the centre and logs of the sides (..., 4)."""
        centers = preds[..., :2] * priors[..., 2:] + priors[..., :2]
        return cxcywh_to_xyxy(torch.cat([centers, preds[..., 2:].exp() * priors[..., 2:]], dim=-1))

    # ------------------------------------------------------------------ training

    def loss(self, outs: YOLOXOuts, batch: Batch) -> dict[str, Tensor]:
        assert batch.gts is not None
        priors = torch.cat(self.priors(outs[0]))  # (N, 4)
        scores = flatten_levels(outs[0], self.num_classes).float()  # (B, N, C)
        preds = flatten_levels(outs[1], 4).float()  # (B, N, 4)
        objectness = flatten_levels(outs[2], 1).float()  # (B, N, 1)
        bboxes = self.raw_to_boxes(priors, preds)
        probs = scores.detach().sigmoid() * objectness.detach().sigmoid()
        targets = [self.targets(priors, bboxes.detach()[i], probs[i], gts) for i, gts in enumerate(batch.gts)]
        positive = torch.stack([each.positive for each in targets])  # (B, N) with P positives
        num_pos = shared_factor(positive.sum(), priors)
        score_targets = torch.cat([each.scores for each in targets])
        losses = dict(
            loss_cls=self.loss_cls(scores[positive], score_targets) / num_pos,
            loss_bbox=self.loss_bbox(bboxes[positive], torch.cat([each.bboxes for each in targets])) / num_pos,
            loss_obj=self.loss_obj(objectness.flatten(0, 1), positive.flatten()[:, None].float()) / num_pos,
        )
        if self.use_l1:
            offsets = torch.cat([each.offsets for each in targets])
            losses['loss_l1'] = self.loss_l1(preds[positive], offsets) / num_pos
        return losses

    @torch.no_grad()
    def targets(self, priors: Tensor, bboxes: Tensor, probs: Tensor, gts: Instances) -> YOLOXTargets:
        """Targets of one image from its predicted boxes (N, 4) and probabilities (N, C)."""
        settings = required(self.train_cfg, 'train_cfg', self)
        center_priors = torch.cat([priors[:, :2] + priors[:, 2:] * 0.5, priors[:, 2:]], dim=1)
        assignment = settings.assigner.assign(bboxes, gts, info=PriorInfo(scores=probs, points=center_priors))
        positive = assignment.gt_inds >= 0
        pos_gts = gts[assignment.gt_inds[positive]]
        assert pos_gts.labels is not None
        ious = assignment.max_overlaps[positive]
        pos_priors, size = priors[positive], xyxy_to_cxcywh(pos_gts.bboxes)
        shift = (size[:, :2] - pos_priors[:, :2]) / pos_priors[:, 2:]
        return YOLOXTargets(
            positive=positive,
            scores=F.one_hot(pos_gts.labels, self.num_classes) * ious[:, None],
            bboxes=pos_gts.bboxes,
            offsets=torch.cat([shift, (size[:, 2:] / pos_priors[:, 2:] + 1e-8).log()], dim=1),
        )

    # ------------------------------------------------------------------ prediction

    def level_predictions(self, outs: YOLOXOuts) -> list[LevelPredictions]:
        """A score is that of the class times the objectness."""
        levels = []
        for cls_scores, bbox_preds, objectness, priors in zip(*outs, self.priors(outs[0]), strict=True):
            scores = flatten_level(cls_scores.detach().float(), self.num_classes).sigmoid()
            box_preds = flatten_level(bbox_preds.detach().float(), 4)
            factors = flatten_level(objectness.detach().float(), 1).squeeze(-1).sigmoid()
            levels.append(LevelPredictions(scores, box_preds, priors, factors))
        return levels

    def decode_boxes(self, priors: Tensor, box_preds: Tensor, img_shape: tuple[int, int]) -> Tensor:
        """(N, 4) boxes, not clipped, from priors (N, 4) and raw predictions (N, 4)."""
        return self.raw_to_boxes(priors, box_preds)

    def predict(
        self,
        outs: YOLOXOuts,
        metas: Sequence[ImageMeta],
        cfg: Cfg | PostProcessing | None = None,
        rescale: bool = True,
    ) -> list[Instances]:
        """Detections of each image, best first; a box has only its best class."""
        settings = PostProcessing.from_cfg(cfg if cfg is not None else self.test_cfg)
        all_bboxes, all_scores = self.decode(outs, metas)  # (B, N, 4), (B, N, C)
        detections = []
        for bboxes, scores, meta in zip(all_bboxes, all_scores, metas, strict=True):
            best, labels = scores.max(dim=-1)  # (N,)
            keep = best >= settings.score_thr
            candidates = Instances(bboxes=bboxes[keep], labels=labels[keep], scores=best[keep])
            detections.append(finish_predictions(candidates, meta, settings, rescale=rescale))
        return detections
