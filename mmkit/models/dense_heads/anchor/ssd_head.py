"""SSD's head, arXiv:1512.02325."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.layers import ConvModule, DepthwiseSeparableConvModule
from mmkit.models.dense_heads.anchor.anchor_head import AnchorHead
from mmkit.models.dense_heads.levels import featmap_sizes, flatten_levels
from mmkit.registry import HEADS
from mmkit.structures import Batch


# mmdetection has the Ascend kind for another processor; it computes the same.
@HEADS.register_module(['SSDHead', 'AscendSSDHead'])
class SSDHead(AnchorHead):
    """Convolutions of each level's own; the loss takes the negatives that are most wrong.

    Args:
        num_classes: C, without background.
        in_channels: channels of each level.
        stacked_convs: convolutions with `feat_channels` before those that predict.
        use_depthwise: SSDLite (arXiv:1801.04381): predict by a depthwise and a 1x1 convolution.
        conv_cfg, norm_cfg, act_cfg: kinds of layer, except of those that predict.
        train_cfg: as in `AnchorHead`, and `neg_pos_ratio`: so many negatives for each positive; `smoothl1_beta`.

    Others as in `AnchorHead`. The losses are softmax cross entropy and smooth L1.
    """

    train_keys = (*AnchorHead.train_keys, 'neg_pos_ratio', 'smoothl1_beta')
    takes_sampler = False

    def __init__(
        self,
        num_classes: int = 80,
        in_channels: Sequence[int] = (512, 1024, 512, 256, 256, 256),
        stacked_convs: int = 0,
        feat_channels: int = 256,
        use_depthwise: bool = False,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
        act_cfg: Mapping[str, Any] | None = None,
        anchor_generator: Mapping[str, Any] = dict(
            type='SSDAnchorGenerator',
            scale_major=False,
            input_size=300,
            strides=[8, 16, 32, 64, 100, 300],
            ratios=([2], [2, 3], [2, 3], [2, 3], [2], [2]),
            basesize_ratio_range=(0.1, 0.9),
        ),
        bbox_coder: Mapping[str, Any] = dict(
            type='DeltaXYWHBBoxCoder', clip_border=True, target_means=(0.0,) * 4, target_stds=(1.0,) * 4
        ),
        reg_decoded_bbox: bool = False,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        init_cfg: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = dict(
            type='Xavier', layer='Conv2d', distribution='uniform', bias=0
        ),
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

    def _read_train_cfg(self, train_cfg: Mapping[str, Any]) -> None:
        super()._read_train_cfg(train_cfg)
        self.neg_pos_ratio = train_cfg['neg_pos_ratio']

    def _init_layers(self) -> None:
        num_priors = self.prior_generator.num_base_priors
        if len(self.in_channels) != len(num_priors):
            raise ValueError(
                f'SSDHead: in_channels has {len(self.in_channels)} levels, anchor_generator has {len(num_priors)}'
            )
        levels = list(zip(self.in_channels, num_priors))
        self.cls_convs = nn.ModuleList(self._branch(a, n * self.cls_out_channels) for a, n in levels)
        self.reg_convs = nn.ModuleList(self._branch(a, n * 4) for a, n in levels)

    def _branch(self, channels: int, out_channels: int) -> nn.Sequential:
        kinds = dict(conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg)
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

    def forward(self, feats: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """As `AnchorHead.forward`, with as many anchors on a cell as its level has."""
        return (
            [conv(feat) for conv, feat in zip(self.cls_convs, feats, strict=True)],
            [conv(feat) for conv, feat in zip(self.reg_convs, feats, strict=True)],
        )

    def loss(self, outs: tuple[list[Tensor], list[Tensor]], batch: Batch) -> dict[str, Tensor]:
        cls_scores, bbox_preds = outs
        anchors = torch.cat(self.anchors(cls_scores))  # (N, 4)
        targets = self.targets(anchors, featmap_sizes(cls_scores), batch)
        scores = flatten_levels(cls_scores, self.cls_out_channels).float()  # (B, N, C + 1)
        entropy = self.loss_cls(scores.flatten(0, 1), targets.labels.flatten(), targets.label_weights.flatten())
        entropy = entropy.view_as(targets.labels)  # (B, N)
        hard = [
            self._with_hard_negatives(of_image, labels < self.num_classes)
            for of_image, labels in zip(entropy, targets.labels)
        ]
        deltas = flatten_levels(bbox_preds, 4).float()
        loss_bbox = self.box_loss(deltas, anchors, targets, slice(None), targets.num_pos)
        return dict(loss_cls=torch.stack(hard).sum() / targets.num_pos, loss_bbox=loss_bbox)

    def _with_hard_negatives(self, losses: Tensor, positive: Tensor) -> Tensor:
        """Sum of the (N,) losses of the positives and of the negatives that are most wrong."""
        negatives = losses[~positive]
        wanted = int(self.neg_pos_ratio * positive.sum())
        return losses[positive].sum() + negatives.topk(min(wanted, len(negatives))).values.sum()
