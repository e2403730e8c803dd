"""Mask R-CNN's mask head, arXiv:1703.06870."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import torch
from torch import Tensor, nn

from mmkit.bbox import clip_bboxes
from mmkit.errors import InvalidValueError
from mmkit.layers import BaseModule, ConvModule, build_conv_layer, build_upsample_layer
from mmkit.layers.init import InitCfg
from mmkit.models.mask_heads.paste import paste_masks
from mmkit.ops import pair
from mmkit.registry import HEADS, LOSSES, Cfg
from mmkit.structures import EncodedMasks, ImageMeta, Instances, SamplingResult

UPSAMPLE_KINDS = (None, 'deconv', 'nearest', 'bilinear', 'carafe')


class FCNMaskHeadArgs(TypedDict, total=False):
    """Arguments of `FCNMaskHead`, which its variants take besides those of their own."""

    num_convs: int
    roi_feat_size: int | Sequence[int]
    in_channels: int
    conv_kernel_size: int
    conv_out_channels: int
    num_classes: int
    class_agnostic: bool
    upsample_cfg: Cfg
    conv_cfg: Cfg | None
    norm_cfg: Cfg | None
    predictor_cfg: Cfg
    loss_mask: Cfg
    init_cfg: InitCfg


@HEADS.register_module()
class FCNMaskHead(BaseModule):
    """Convolutions, upsampling and one mask per class.

    Args:
        num_convs: hidden convolutions with `conv_kernel_size` and `conv_out_channels`.
        roi_feat_size: cells of a region, int or (h, w).
        num_classes: C, without background.
        class_agnostic: one mask for all classes.
        upsample_cfg: type None, deconv, nearest, bilinear or carafe, and `scale_factor`.
        predictor_cfg: kind of the last 1x1 convolution.

    Raises:
        InvalidValueError: for another type of upsampling.
    """

    compares_classes = True  # num_classes must be the number of classes in the dataset

    def __init__(
        self,
        *,
        num_convs: int = 4,
        roi_feat_size: int | Sequence[int] = 14,
        in_channels: int = 256,
        conv_kernel_size: int = 3,
        conv_out_channels: int = 256,
        num_classes: int = 80,
        class_agnostic: bool = False,
        upsample_cfg: Cfg = dict(type='deconv', scale_factor=2),
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg | None = None,
        predictor_cfg: Cfg = dict(type='Conv'),
        loss_mask: Cfg = dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0),
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(init_cfg)
        self.roi_feat_size = pair(roi_feat_size, 'roi_feat_size')
        self.num_classes = num_classes
        self.conv_out_channels = conv_out_channels
        self.conv_cfg, self.norm_cfg = conv_cfg, norm_cfg
        self.class_agnostic = class_agnostic
        self.loss_mask = LOSSES.build(loss_mask)
        widths = [in_channels, *[conv_out_channels] * num_convs]
        self.convs = nn.ModuleList(
            ConvModule(a, b, conv_kernel_size, padding=conv_kernel_size // 2, conv_cfg=conv_cfg, norm_cfg=norm_cfg)
            for a, b in zip(widths[:-1], widths[1:], strict=True)
        )
        self.upsample_kind = upsample_cfg.get('type')
        self.upsample = build_upsample(upsample_cfg, widths[-1], conv_out_channels)
        channels = conv_out_channels if self.upsample_kind == 'deconv' else widths[-1]
        self.conv_logits = build_conv_layer(predictor_cfg, channels, 1 if class_agnostic else num_classes, 1)
        if init_cfg is None:
            layers = dict(upsample=self.upsample, conv_logits=self.conv_logits)
            self.init_cfg = [
                dict(type='Kaiming', mode='fan_out', nonlinearity='relu', override=dict(name=name))
                for name, layer in layers.items()
                if layer is not None and list(layer.parameters())
            ]

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
        logits: Tensor = self.conv_logits(hidden)
        return logits

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
        """(P, h, w) float32: the ground truth inside the positive boxes of all images, as 0 and 1 unless `soft`."""
        targets = []
        for each, gt in zip(samples, gts, strict=True):
            masks = gt.masks
            assert masks is not None
            bboxes = clip_bboxes(each.pos_bboxes, (masks.height, masks.width))
            targets.append(
                masks.crop_and_resize(
                    bboxes, pair(mask_size, 'mask_size'), each.pos_gt_inds, device=bboxes.device, binarize=not soft
                )
            )
        return torch.cat(targets)

    def loss(self, logits: Tensor, targets: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Logits (P, C or 1, h, w), targets (P, h, w) and labels (P,) of the positive regions."""
        if not len(logits):
            return dict(loss_mask=logits.float().sum())
        labels = torch.zeros_like(labels) if self.class_agnostic else labels
        return dict(loss_mask=self.loss_mask(logits.float(), targets, labels))

    def decode(self, stages: Sequence[Tensor], labels: Tensor) -> Tensor:
        """The mask of the class that each region has.

        Args:
            stages: logits (N, C or 1, h, w) of one head or, whose probabilities are averaged, of several.
            labels: (N,) classes.

        Returns:
            (N, h, w) probabilities.
        """
        probs = torch.stack([logits.float().sigmoid() for logits in stages]).mean(dim=0)
        channels = torch.zeros_like(labels) if self.class_agnostic else labels
        return probs[torch.arange(len(labels), device=labels.device), channels]

    def predict(
        self,
        stages: Sequence[Tensor],
        detections: Instances,
        meta: ImageMeta,
        threshold: float = 0.5,
        rescale: bool = True,
    ) -> EncodedMasks:
        """Masks of the detections in one image.

        Args:
            stages: see `decode`.
            detections: in pixels of the original image with `rescale`, else of the network's input.
            threshold: probability from which a pixel belongs to the mask.
        """
        assert detections.labels is not None
        height, width = (meta.ori_shape if rescale else meta.img_shape)[:2]
        return paste_masks(self.decode(stages, detections.labels), detections.bboxes, height, width, threshold)


def build_upsample(upsample_cfg: Cfg, in_channels: int, out_channels: int) -> nn.Module | None:
    """The layer of a mask head's `upsample_cfg`; a deconvolution gives `out_channels`.

    Raises:
        InvalidValueError: for a type not in `UPSAMPLE_KINDS`.
    """
    cfg = dict(upsample_cfg)
    kind, scale = cfg.get('type'), cfg.pop('scale_factor', None)
    if kind not in UPSAMPLE_KINDS:
        raise InvalidValueError(
            f'upsample_cfg type {kind!r} is not supported; known are {UPSAMPLE_KINDS}', key='upsample_cfg'
        )
    if kind is None:
        return None
    if kind == 'deconv':
        cfg.update(in_channels=in_channels, out_channels=out_channels, kernel_size=scale, stride=scale)
    elif kind == 'carafe':
        cfg.update(channels=in_channels, scale_factor=scale)
    else:
        cfg.update(scale_factor=scale, mode=kind, align_corners=None if kind == 'nearest' else False)
    return build_upsample_layer(cfg)
