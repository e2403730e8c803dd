"""Region proposal network, arXiv:1506.01497."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.layers import ConvModule
from mmkit.models.dense_heads.anchor.anchor_head import AnchorHead
from mmkit.models.dense_heads.levels import PostProcessing
from mmkit.ops import batched_nms
from mmkit.registry import HEADS
from mmkit.structures import Batch, ImageMeta, Instances


@HEADS.register_module()
class RPNHead(AnchorHead):
    """Object or not, for every anchor.

    Args:
        in_channels: channels of every input level.
        num_convs: 3x3 convolutions before the two 1x1 ones; with more than one, all have a ReLU of their own.
        num_classes: 1, the object; anything else is an error.

    Others as in `AnchorHead`.
    """

    def __init__(
        self,
        in_channels: int,
        init_cfg: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = dict(
            type='Normal', layer='Conv2d', std=0.01
        ),
        num_convs: int = 1,
        num_classes: int = 1,
        feat_channels: int = 256,
        anchor_generator: Mapping[str, Any] = dict(
            type='AnchorGenerator', scales=[8, 16, 32], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64]
        ),
        bbox_coder: Mapping[str, Any] = dict(
            type='DeltaXYWHBBoxCoder', clip_border=True, target_means=(0.0,) * 4, target_stds=(1.0,) * 4
        ),
        reg_decoded_bbox: bool = False,
        loss_cls: Mapping[str, Any] = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        loss_bbox: Mapping[str, Any] = dict(type='SmoothL1Loss', beta=1.0 / 9.0, loss_weight=1.0),
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        if num_classes != 1:
            raise ValueError(f'RPNHead tells object from background: num_classes must be 1, got {num_classes}')
        self.num_convs = num_convs
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

    def _init_layers(self) -> None:
        if self.num_convs > 1:
            widths = [self.in_channels, *[self.feat_channels] * self.num_convs]
            self.rpn_conv: nn.Module = nn.Sequential(
                *[ConvModule(a, b, 3, padding=1, inplace=False) for a, b in zip(widths[:-1], widths[1:], strict=True)]
            )
        else:
            self.rpn_conv = nn.Conv2d(self.in_channels, self.feat_channels, 3, padding=1)
        self.rpn_cls = nn.Conv2d(self.feat_channels, self.num_base_priors * self.cls_out_channels, 1)
        self.rpn_reg = nn.Conv2d(self.feat_channels, self.num_base_priors * 4, 1)

    def forward_single(self, feat: Tensor) -> tuple[Tensor, Tensor]:
        feat = self.rpn_conv(feat).relu()
        return self.rpn_cls(feat), self.rpn_reg(feat)

    def loss(self, outs: tuple[list[Tensor], list[Tensor]], batch: Batch) -> dict[str, Tensor]:
        losses = super().loss(outs, batch)
        return dict(loss_rpn_cls=losses['loss_cls'], loss_rpn_bbox=losses['loss_bbox'])

    def detections(
        self,
        scores: Sequence[Tensor],
        deltas: Sequence[Tensor],
        anchors: Sequence[Tensor],
        metas: Sequence[ImageMeta],
        cfg: PostProcessing,
        rescale: bool,
        factors: Sequence[Tensor] | None = None,
    ) -> list[Instances]:
        """Proposals of each image: the best of each level, NMS within each level, the best of all levels."""
        found = []
        for image, meta in enumerate(metas):
            chosen, bboxes, levels = [], [], []
            for level, level_scores in enumerate(scores):
                objectness = level_scores[image, :, 0]
                best, inds = objectness, torch.arange(len(objectness), device=objectness.device)
                if 0 < cfg.nms_pre < len(objectness):  # topk would order equal scores differently, and NMS sees it
                    best, inds = (each[: cfg.nms_pre] for each in objectness.sort(descending=True))
                chosen.append(best)
                bboxes.append(self.bbox_coder.decode(anchors[level][inds], deltas[level][image, inds], meta.img_shape))
                levels.append(torch.full_like(inds, level))
            found.append(self._finish(torch.cat(bboxes), torch.cat(chosen), torch.cat(levels), meta, cfg, rescale))
        return found

    @staticmethod
    def _finish(
        bboxes: Tensor, scores: Tensor, levels: Tensor, meta: ImageMeta, cfg: PostProcessing, rescale: bool
    ) -> Instances:
        if cfg.min_bbox_size >= 0:
            keep = ((bboxes[:, 2:] - bboxes[:, :2]) > cfg.min_bbox_size).all(dim=1)
            bboxes, scores, levels = bboxes[keep], scores[keep], levels[keep]
        if len(bboxes):
            dets, _ = batched_nms(bboxes, scores, levels, cfg.nms)
            dets = dets[: cfg.max_per_img] if cfg.max_per_img > 0 else dets
            bboxes, scores = dets[:, :4], dets[:, 4]
        if rescale:
            bboxes = bboxes / bboxes.new_tensor(meta.scale_factor)
        return Instances(bboxes=bboxes, scores=scores, labels=torch.zeros_like(scores, dtype=torch.long))
