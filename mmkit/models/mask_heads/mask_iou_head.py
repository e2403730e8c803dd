"""Head of Mask Scoring R-CNN that predicts how good a mask is, arXiv:1903.00241."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmkit.layers import BaseModule, ConvModule
from mmkit.layers.init import InitCfg
from mmkit.ops import pair
from mmkit.registry import HEADS, LOSSES, Cfg
from mmkit.structures import Instances, Masks, SamplingResult


@HEADS.register_module()
class MaskIoUHead(BaseModule):
    """IoU of predicted masks with their objects, from a region's features and its mask.

    Args:
        num_convs: 3x3 convolutions; the last one halves the size.
        num_fcs: hidden fully connected layers.
        roi_feat_size: cells of a region's features, int or (h, w); the mask has twice as many.
        in_channels: channels of these features.
        conv_out_channels, fc_out_channels: widths of hidden layers.
        num_classes: C, without background.
        loss_iou: config of the loss.
    """

    compares_classes = True

    def __init__(
        self,
        num_convs: int = 4,
        num_fcs: int = 2,
        roi_feat_size: int | Sequence[int] = 14,
        in_channels: int = 256,
        conv_out_channels: int = 256,
        fc_out_channels: int = 1024,
        num_classes: int = 80,
        loss_iou: Cfg = dict(type='MSELoss', loss_weight=0.5),
        init_cfg: InitCfg = [
            dict(type='Kaiming', override=dict(name='convs')),
            dict(type='Caffe2Xavier', override=dict(name='fcs')),
            dict(type='Normal', std=0.01, override=dict(name='fc_mask_iou')),
        ],
    ) -> None:
        super().__init__(init_cfg)
        self.num_classes = num_classes
        self.loss_iou: nn.Module = LOSSES.build(loss_iou)
        widths = [in_channels + 1, *[conv_out_channels] * num_convs]
        strides = [1] * (num_convs - 1) + [2]
        self.convs = nn.ModuleList(
            ConvModule(a, b, 3, stride=stride, padding=1)
            for a, b, stride in zip(widths[:-1], widths[1:], strides, strict=True)
        )
        height, width = pair(roi_feat_size, 'roi_feat_size')
        sizes = [conv_out_channels * (height // 2) * (width // 2), *[fc_out_channels] * num_fcs]
        self.fcs = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True))
        self.fc_mask_iou = nn.Linear(sizes[-1], num_classes)

    def forward(self, feats: Tensor, masks: Tensor) -> Tensor:
        """IoU (R, C) of each class.

        Args:
            feats: (R, in_channels, h, w) of the regions.
            masks: (R, 2h, 2w) logits of the mask of the class of each region.
        """
        x = torch.cat([feats, F.max_pool2d(masks.sigmoid()[:, None], 2)], dim=1)
        for conv in self.convs:
            x = conv(x)
        x = x.flatten(1)
        for fc in self.fcs:
            x = fc(x).relu()
        ious: Tensor = self.fc_mask_iou(x)
        return ious

    def loss(self, ious: Tensor, targets: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Loss of the IoUs (P, C) of regions with `labels` (P,); a target (P,) of 0 is left out."""
        of_label = ious.float()[torch.arange(len(labels), device=labels.device), labels]
        counted = targets > 0
        if not counted.any():
            return dict(loss_mask_iou=ious.float().sum() * 0)
        return dict(loss_mask_iou=self.loss_iou(of_label[counted], targets[counted]))

    @torch.no_grad()
    def targets(
        self,
        samples: Sequence[SamplingResult],
        gts: Sequence[Instances],
        masks: Tensor,
        mask_targets: Tensor,
        threshold: float,
    ) -> Tensor:
        """(P,) IoU of predicted masks with whole objects, which may reach beyond their regions.

        Args:
            samples, gts: of each image, with P positives in all.
            masks: (P, h, w) logits of the mask of the right class.
            mask_targets: (P, h, w) the objects inside the regions.
            threshold: probability from which a pixel belongs to the mask.
        """
        shares = masks.new_tensor(np.concatenate([_shares(each, gt.masks) for each, gt in zip(samples, gts)]))
        predicted = (masks.sigmoid() > threshold).float()
        whole = mask_targets.sum((-1, -2)) / (shares + 1e-7)  # (P,) area of the object in cells of the region
        overlaps = (predicted * mask_targets).sum((-1, -2))
        return overlaps / (predicted.sum((-1, -2)) + whole - overlaps)


def _shares(sample: SamplingResult, masks: Masks | None) -> np.ndarray:
    """(P,) share of its object that lies inside each positive region of an image."""
    assert masks is not None
    bitmaps, areas = masks.to_ndarray(), masks.areas
    shares = []
    for index, (x1, y1, x2, y2) in zip(sample.pos_gt_inds.tolist(), sample.pos_bboxes.int().tolist()):
        inside = bitmaps[index, max(y1, 0) : y2 + 1, max(x1, 0) : x2 + 1]
        shares.append(inside.sum() / (areas[index] + 1e-7))
    return np.array(shares, np.float32)
