"""SSD's head, arXiv:1512.02325."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.errors import InvalidValueError
from mmkit.layers import ConvModule, DepthwiseSeparableConvModule
from mmkit.layers.init import InitCfg
from mmkit.models.dense_heads.anchor.anchor_head import AnchorOuts
from mmkit.models.dense_heads.anchor.base_anchor_head import BaseAnchorHead
from mmkit.models.dense_heads.anchor.prime_training import PrimeTraining, attend_to_prime
from mmkit.models.dense_heads.detections import LevelPredictions
from mmkit.models.dense_heads.levels import featmap_sizes, flatten_levels
from mmkit.registry import HEADS, Cfg
from mmkit.structures import Batch


@dataclass(frozen=True, kw_only=True)
class SSDTraining(PrimeTraining):
    """`train_cfg` of SSD.

    Attributes:
        neg_pos_ratio: negatives in the loss for each positive.
        smoothl1_beta: from this difference on the box loss is linear.

    Others as in `PrimeTraining`.
    """

    neg_pos_ratio: float
    smoothl1_beta: float = 1.0


# The Ascend variant of mmdetection is for another processor and computes the same; PISA's (arXiv:1904.04821) differs by
# its train_cfg.
@HEADS.register_module(['SSDHead', 'AscendSSDHead', 'PISASSDHead'])
class SSDHead(BaseAnchorHead[AnchorOuts]):
    """Separate convolutions for each level; the classification loss sees the hardest negatives.

    Args:
        num_classes: C, without background.
        in_channels: channels of each level.
        stacked_convs: convolutions with `feat_channels` before those that predict.
        use_depthwise: SSDLite (arXiv:1801.04381): predict by a depthwise and a 1x1 convolution.
        conv_cfg, norm_cfg, act_cfg: kinds of layer, except of those that predict.
        train_cfg: see `SSDTraining`.

    Others as in `BaseAnchorHead`. The losses are softmax cross entropy and smooth L1.
    """

    takes_sampler = False
    training_settings = SSDTraining
    train_cfg: SSDTraining | None
    in_channels: Sequence[int]

    def __init__(
        self,
        num_classes: int = 80,
        in_channels: Sequence[int] = (512, 1024, 512, 256, 256, 256),
        stacked_convs: int = 0,
        feat_channels: int = 256,
        use_depthwise: bool = False,
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg | None = None,
        act_cfg: Cfg | None = None,
        anchor_generator: Cfg = dict(
            type='SSDAnchorGenerator',
            scale_major=False,
            input_size=300,
            strides=[8, 16, 32, 64, 100, 300],
            ratios=([2], [2, 3], [2, 3], [2, 3], [2], [2]),
            basesize_ratio_range=(0.1, 0.9),
        ),
        bbox_coder: Cfg = dict(
            type='DeltaXYWHBBoxCoder', clip_border=True, target_means=(0.0,) * 4, target_stds=(1.0,) * 4
        ),
        reg_decoded_bbox: bool = False,
        train_cfg: Cfg | None = None,
        test_cfg: Cfg | None = None,
        init_cfg: InitCfg = dict(type='Xavier', layer='Conv2d', distribution='uniform', bias=0),
    ) -> None:
        self.stacked_convs = stacked_convs
        self.use_depthwise = use_depthwise
        self.conv_cfg = conv_cfg
        self.norm_cfg = norm_cfg
        self.act_cfg = act_cfg
        super().__init__(
            num_classes=num_classes,
            in_channels=in_channels,
            feat_channels=feat_channels,
            anchor_generator=anchor_generator,
            bbox_coder=bbox_coder,
            reg_decoded_bbox=reg_decoded_bbox,
            loss_cls=dict(type='CrossEntropyLoss', reduction='none'),
            loss_bbox=dict(type='SmoothL1Loss', beta=(train_cfg or {}).get('smoothl1_beta', 1.0)),
            train_cfg=train_cfg,
            test_cfg=test_cfg,
            init_cfg=init_cfg,
        )

    def _init_layers(self) -> None:
        num_priors = self.prior_generator.num_base_priors
        if len(self.in_channels) != len(num_priors):
            raise InvalidValueError(
                f'SSDHead: in_channels has {len(self.in_channels)} levels, anchor_generator has {len(num_priors)}',
                key='in_channels',
            )
        levels = list(zip(self.in_channels, num_priors))
        self.cls_convs = nn.ModuleList(self._branch(a, n * self.cls_out_channels) for a, n in levels)
        self.reg_convs = nn.ModuleList(self._branch(a, n * 4) for a, n in levels)

    def _branch(self, channels: int, out_channels: int) -> nn.Sequential:
        kinds: dict[str, Any] = dict(conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg)
        block = DepthwiseSeparableConvModule if self.use_depthwise else ConvModule
        layers: list[nn.Module] = []
        for _ in range(self.stacked_convs):
            layers.append(block(channels, self.feat_channels, 3, padding=1, **kinds))
            channels = self.feat_channels
        if self.use_depthwise:
            layers.append(ConvModule(channels, channels, 3, padding=1, groups=channels, **kinds))
            layers.append(nn.Conv2d(channels, out_channels, 1))
        else:
            layers.append(nn.Conv2d(channels, out_channels, 3, padding=1))
        return nn.Sequential(*layers)

    def forward(self, feats: Sequence[Tensor]) -> AnchorOuts:
        """As `AnchorHead.forward`; levels may differ in the number of anchors of a cell."""
        return AnchorOuts(
            cls_scores=[conv(feat) for conv, feat in zip(self.cls_convs, feats, strict=True)],
            bbox_preds=[conv(feat) for conv, feat in zip(self.reg_convs, feats, strict=True)],
        )

    def loss(self, outs: AnchorOuts, batch: Batch) -> dict[str, Tensor]:
        cls_scores, bbox_preds = outs
        anchors = torch.cat(self.anchors(cls_scores))  # (N, 4)
        targets = self.targets(anchors, featmap_sizes(cls_scores), batch)
        scores = flatten_levels(cls_scores, self.cls_out_channels).float()  # (B, N, C + 1)
        deltas = flatten_levels(bbox_preds, 4).float()  # (B, N, 4)
        targets, further = attend_to_prime(self, scores, deltas, anchors, targets)
        entropy = self.loss_cls(scores.flatten(0, 1), targets.labels.flatten(), targets.label_weights.flatten())
        positive = targets.labels < self.num_classes  # (B, N) with P positives
        per_image = zip(entropy.view_as(targets.labels), positive)
        loss_cls = torch.stack([self._with_hard_negatives(losses, pos) for losses, pos in per_image]).sum()
        boxes = self.positive_boxes(deltas, anchors, positive)  # (P, 4)
        loss_bbox = self.loss_bbox(boxes, targets.bbox_targets[positive], avg_factor=targets.num_pos)
        return dict(loss_cls=loss_cls / targets.num_pos, loss_bbox=loss_bbox) | further

    def _with_hard_negatives(self, losses: Tensor, positive: Tensor) -> Tensor:
        """Sum of the (N,) losses of the positives and of the hardest negatives."""
        assert self.train_cfg is not None
        negatives = losses[~positive]
        count = min(int(self.train_cfg.neg_pos_ratio * positive.sum()), len(negatives))
        return losses[positive].sum() + negatives.topk(count).values.sum()

    def level_predictions(self, outs: AnchorOuts) -> list[LevelPredictions]:
        return self.anchor_predictions(*outs)
