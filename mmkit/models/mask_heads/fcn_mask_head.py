"""Mask R-CNN's mask head, arXiv:1703.06870."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from mmkit.bbox import SamplingResult, clip_bboxes
from mmkit.layers import BaseModule, ConvModule, build_conv_layer, build_upsample_layer
from mmkit.models.mask_heads.paste import paste_masks
from mmkit.registry import HEADS, LOSSES, build_from_cfg
from mmkit.structures import EncodedMasks, ImageMeta, Instances

UPSAMPLE_KINDS = (None, 'deconv', 'nearest', 'bilinear', 'carafe')


@HEADS.register_module()
class FCNMaskHead(BaseModule):
    """Convolutions, upsampling and one mask per class.

    Args:
        num_convs: hidden convolutions with `conv_kernel_size` and `conv_out_channels`.
        roi_feat_size: cells of a region, int or (h, w).
        class_agnostic: one mask for all classes.
        upsample_cfg: type None, deconv, nearest, bilinear or carafe, and `scale_factor`.
        predictor_cfg: kind of the last 1x1 convolution.
    """

    def __init__(
        self,
        num_convs: int = 4,
        roi_feat_size: int | Sequence[int] = 14,
        in_channels: int = 256,
        conv_kernel_size: int = 3,
        conv_out_channels: int = 256,
        num_classes: int = 80,
        class_agnostic: bool = False,
        upsample_cfg: Mapping[str, Any] = dict(type='deconv', scale_factor=2),
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
        predictor_cfg: Mapping[str, Any] = dict(type='Conv'),
        loss_mask: Mapping[str, Any] = dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0),
        init_cfg: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.roi_feat_size = _pair(roi_feat_size)
        self.num_classes = num_classes
        self.class_agnostic = class_agnostic
        self.loss_mask = build_from_cfg(loss_mask, LOSSES)
        widths = [in_channels, *[conv_out_channels] * num_convs]
        self.convs = nn.ModuleList(
            ConvModule(a, b, conv_kernel_size, padding=conv_kernel_size // 2, conv_cfg=conv_cfg, norm_cfg=norm_cfg)
            for a, b in zip(widths[:-1], widths[1:], strict=True)
        )
        self._init_upsample(dict(upsample_cfg), widths[-1], conv_out_channels)
        channels = conv_out_channels if self.upsample_kind == 'deconv' else widths[-1]
        self.conv_logits = build_conv_layer(predictor_cfg, channels, 1 if class_agnostic else num_classes, 1)
        if init_cfg is None:
            self.init_cfg = [
                dict(type='Kaiming', mode='fan_out', nonlinearity='relu', override=dict(name=name))
                for name in ('upsample', 'conv_logits')
                if getattr(self, name) is not None and list(getattr(self, name).parameters())
            ]

    def _init_upsample(self, cfg: dict[str, Any], in_channels: int, out_channels: int) -> None:
        self.upsample_kind = cfg.get('type')
        if self.upsample_kind not in UPSAMPLE_KINDS:
            raise ValueError(f'upsample_cfg type {self.upsample_kind!r} is not supported; known are {UPSAMPLE_KINDS}')
        scale = cfg.pop('scale_factor', None)
        if self.upsample_kind is None:
            self.upsample = None
            return
        if self.upsample_kind == 'deconv':
            cfg.update(in_channels=in_channels, out_channels=out_channels, kernel_size=scale, stride=scale)
        elif self.upsample_kind == 'carafe':
            cfg.update(channels=in_channels, scale_factor=scale)
        else:
            align = None if self.upsample_kind == 'nearest' else False
            cfg.update(scale_factor=scale, mode=self.upsample_kind, align_corners=align)
        self.upsample = build_upsample_layer(cfg)

    def hidden(self, feats: Tensor) -> Tensor:
        """(R, in_channels, h, w) -> (R, conv_out_channels, h, w)."""
        for conv in self.convs:
            feats = conv(feats)
        return feats

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden features -> mask logits (R, C or 1, h', w')."""
        if self.upsample is not None:
            hidden = self.upsample(hidden)
            if self.upsample_kind == 'deconv':
                hidden = hidden.relu()
        return self.conv_logits(hidden)

    def forward(self, feats: Tensor) -> Tensor:
        """(R, in_channels, h, w) -> mask logits (R, C or 1, h', w')."""
        return self.logits(self.hidden(feats))

    @torch.no_grad()
    def targets(
        self,
        samples: Sequence[SamplingResult],
        gts: Sequence[Instances],
        mask_size: int | Sequence[int],
        soft: bool = False,
    ) -> Tensor:
        """(P, h, w) float32: the truth inside the positive boxes of all images, as 0 and 1 unless `soft`."""
        targets = []
        for each, gt in zip(samples, gts, strict=True):
            bboxes = clip_bboxes(each.pos_bboxes, (gt.masks.height, gt.masks.width))
            targets.append(
                gt.masks.crop_and_resize(
                    bboxes, _pair(mask_size), each.pos_gt_inds, device=bboxes.device, binarize=not soft
                )
            )
        return torch.cat(targets)

    def loss(self, logits: Tensor, targets: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Logits (P, C or 1, h, w), targets (P, h, w) and labels (P,) of the positive regions."""
        if not len(logits):
            return dict(loss_mask=logits.float().sum())
        labels = torch.zeros_like(labels) if self.class_agnostic else labels
        return dict(loss_mask=self.loss_mask(logits.float(), targets, labels))

    def predict(
        self,
        logits: Tensor | Sequence[Tensor],
        bboxes: Tensor,
        labels: Tensor,
        meta: ImageMeta,
        cfg: Mapping[str, Any],
        rescale: bool = True,
    ) -> EncodedMasks:
        """Masks of one image.

        Args:
            logits: (N, C or 1, h, w), or those of several stages, whose probabilities are averaged.
            bboxes: (N, 4) in pixels of the original image with `rescale`, else of the network's input.
            cfg: `mask_thr_binary`.
        """
        stages = [logits] if isinstance(logits, Tensor) else list(logits)
        probs = torch.stack([stage.float().sigmoid() for stage in stages]).mean(dim=0)
        channel = torch.zeros_like(labels) if self.class_agnostic else labels
        height, width = (meta.ori_shape if rescale else meta.img_shape)[:2]
        rows = torch.arange(len(labels), device=labels.device)
        return paste_masks(probs[rows, channel], bboxes, height, width, cfg.get('mask_thr_binary', 0.5))
