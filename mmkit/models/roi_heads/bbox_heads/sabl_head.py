"""The box head of side-aware boundary localization, arXiv:1912.04260."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmkit.bbox.coders import BucketingBBoxCoder
from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.layers import ConvModule
from mmkit.layers.init import InitCfg
from mmkit.models.roi_heads.bbox_heads.bbox_head import BBoxHead
from mmkit.protocols import RoITargets
from mmkit.registry import HEADS, LOSSES, Cfg
from mmkit.structures import SamplingResult


@HEADS.register_module()
class SABLHead(BBoxHead):
    """Class scores, and each side of the box from the features along its direction: its bucket, and its offset.

    Args:
        cls_in_channels, reg_in_channels: of the regions, which must be the same.
        roi_feat_size: cells of a region.
        reg_feat_up_ratio: cells of the features along a direction for each cell of the region; altogether as many as
            `bbox_coder` has buckets.
        reg_pre_kernel, reg_pre_num: convolutions before the directions part.
        reg_post_kernel, reg_post_num: convolutions along each direction.
        cls_out_channels, num_cls_fcs: hidden linear layers of the classification.
        reg_offset_out_channels, reg_cls_out_channels, num_reg_fcs: hidden linear layers of offsets and of buckets.
        reg_class_agnostic: must be True.
        norm_cfg: of the convolutions.
        bbox_coder: a `BucketingBBoxCoder`.
        loss_bbox_cls, loss_bbox_reg: of buckets, a sigmoid cross entropy, and of offsets.
    """

    def __init__(
        self,
        num_classes: int,
        cls_in_channels: int = 256,
        *,
        reg_in_channels: int = 256,
        roi_feat_size: int = 7,
        reg_feat_up_ratio: int = 2,
        reg_pre_kernel: int = 3,
        reg_post_kernel: int = 3,
        reg_pre_num: int = 2,
        reg_post_num: int = 1,
        cls_out_channels: int = 1024,
        reg_offset_out_channels: int = 256,
        reg_cls_out_channels: int = 256,
        num_cls_fcs: int = 1,
        num_reg_fcs: int = 0,
        reg_class_agnostic: bool = True,
        norm_cfg: Cfg | None = None,
        bbox_coder: Cfg = dict(type='BucketingBBoxCoder', num_buckets=14, scale_factor=1.7),
        loss_cls: Cfg = dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
        loss_bbox_cls: Cfg = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        loss_bbox_reg: Cfg = dict(type='SmoothL1Loss', beta=0.1, loss_weight=1.0),
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(
            num_cls_fcs=num_cls_fcs,
            fc_out_channels=cls_out_channels,
            with_reg=False,
            roi_feat_size=roi_feat_size,
            in_channels=cls_in_channels,
            num_classes=num_classes,
            bbox_coder=bbox_coder,
            reg_class_agnostic=reg_class_agnostic,
            loss_cls=loss_cls,
            loss_bbox=loss_bbox_reg,
            init_cfg=init_cfg,
        )
        self.loss_bbox_cls = LOSSES.build(loss_bbox_cls)
        coder: object = self.bbox_coder
        if not isinstance(coder, BucketingBBoxCoder):
            message = f'SABLHead: bbox_coder is a BucketingBBoxCoder, got {type(coder).__name__}'
            raise InvalidTypeError(message, key='bbox_coder')
        if cls_in_channels != reg_in_channels:
            message = f'SABLHead: both branches read one region: {cls_in_channels=}, {reg_in_channels=}'
            raise InvalidValueError(message, key='reg_in_channels')
        if roi_feat_size * reg_feat_up_ratio != coder.num_buckets:
            message = f'SABLHead: {roi_feat_size} cells, {reg_feat_up_ratio} times, are not {coder.num_buckets} buckets'
            raise InvalidValueError(message, key='reg_feat_up_ratio')
        if not reg_class_agnostic:
            raise InvalidValueError('SABLHead: one box for all classes', key='reg_class_agnostic')
        self.buckets = coder
        channels = reg_in_channels

        def convs(count: int, kernel: tuple[int, int]) -> nn.ModuleList:
            padding = (kernel[0] // 2, kernel[1] // 2)
            return nn.ModuleList(
                ConvModule(channels, channels, kernel, padding=padding, norm_cfg=norm_cfg) for _ in range(count)
            )

        def fcs(width: int) -> nn.ModuleList:
            return nn.ModuleList(nn.Linear(width if i else channels, width) for i in range(num_reg_fcs))

        def upsampling() -> nn.Module | None:
            if reg_feat_up_ratio == 1:
                return None
            return nn.ConvTranspose1d(channels, channels, reg_feat_up_ratio, stride=reg_feat_up_ratio)

        self.upsample_x, self.upsample_y = upsampling(), upsampling()
        self.reg_pre_convs = convs(reg_pre_num, (reg_pre_kernel, reg_pre_kernel))
        self.reg_post_conv_xs = convs(reg_post_num, (1, reg_post_kernel))
        self.reg_post_conv_ys = convs(reg_post_num, (reg_post_kernel, 1))
        self.reg_conv_att_x = nn.Conv2d(channels, 1, 1)
        self.reg_conv_att_y = nn.Conv2d(channels, 1, 1)
        self.reg_cls_fcs = fcs(reg_cls_out_channels)
        self.reg_offset_fcs = fcs(reg_offset_out_channels)
        self.fc_reg_cls = nn.Linear(reg_cls_out_channels if num_reg_fcs else channels, 1)
        self.fc_reg_offset = nn.Linear(reg_offset_out_channels if num_reg_fcs else channels, 1)
        if init_cfg is None:
            small = ('reg_conv_att_x', 'reg_conv_att_y', 'fc_reg_cls', 'fc_cls')
            override = [dict(type='Normal', name=name, std=0.01) for name in small]
            override.append(dict(type='Normal', name='fc_reg_offset', std=0.001))
            self.init_cfg = [dict(type='Xavier', layer='Linear', distribution='uniform', override=override)]
            if self.upsample_x is not None:
                names = [dict(name='upsample_x'), dict(name='upsample_y')]
                self.init_cfg.append(dict(type='Kaiming', distribution='normal', override=names))

    def forward(self, feats: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """(R, in_channels, h, w) -> class scores (R, C + 1) and buckets and offsets (R, 8 * S)."""
        cls_score, _ = super().forward(feats)
        for conv in self.reg_pre_convs:
            feats = conv(feats)
        directions = self._along(feats)
        scores, offsets = (
            torch.cat([self._sides(each, fcs, last) for each in directions], dim=1)
            for fcs, last in ((self.reg_cls_fcs, self.fc_reg_cls), (self.reg_offset_fcs, self.fc_reg_offset))
        )
        return cls_score, torch.cat([scores, offsets], dim=1)

    def _along(self, feats: Tensor) -> tuple[Tensor, Tensor]:
        """Features (R, buckets, channels) along x and along y, by attention across."""
        lines = []
        for across, attention, convs, upsample in (
            (2, self.reg_conv_att_x, self.reg_post_conv_xs, self.upsample_x),
            (3, self.reg_conv_att_y, self.reg_post_conv_ys, self.upsample_y),
        ):
            weights = attention(feats).sigmoid()  # (R, 1, h, w)
            line = (feats * (weights / weights.sum(dim=across, keepdim=True))).sum(dim=across, keepdim=True)
            for conv in convs:
                line = conv(line)
            line = line.squeeze(across)  # (R, channels, w or h)
            line = line if upsample is None else upsample(line).relu()
            lines.append(line.transpose(1, 2))
        return lines[0], lines[1]

    def _sides(self, line: Tensor, fcs: nn.ModuleList, last: nn.Module) -> Tensor:
        """(R, 2 * S) outputs of both sides of a direction, each from outside to inside."""
        outputs: Tensor = last(self._through(line, fcs)).squeeze(2)  # (R, buckets)
        count = self.buckets.side_num
        return torch.cat([outputs[:, :count], outputs.flip(1)[:, :count]], dim=1)

    def _through(self, feats: Tensor, fcs: nn.ModuleList) -> Tensor:
        for fc in fcs:
            feats = fc(feats).relu()
        return feats

    # ------------------------------------------------------------------ training

    def _box_targets(self, samples: SamplingResult) -> tuple[Tensor, Tensor]:
        return self.buckets.encode_weighted(samples.pos_bboxes, samples.pos_gt_bboxes)

    def loss(
        self, cls_score: Tensor | None, bbox_pred: Tensor | None, rois: Tensor, targets: RoITargets
    ) -> dict[str, Tensor]:
        """`loss_cls`, `acc` (percent), `loss_bbox_cls` of the buckets and `loss_bbox_reg` of the offsets."""
        assert bbox_pred is not None
        losses = super().loss(cls_score, None, rois, targets)
        (scores, offsets), (buckets, wanted), (bucket_weights, weights) = (
            self.buckets.split(each) for each in (bbox_pred.float(), targets.bbox_targets, targets.bbox_weights)
        )  # (R, 4, S) each
        losses['loss_bbox_cls'] = self.loss_bbox_cls(
            scores.flatten(0, 1), buckets.flatten(0, 1), bucket_weights.flatten(0, 1), avg_factor=4 * len(scores)
        )
        losses['loss_bbox_reg'] = self.loss_bbox(offsets, wanted, weights, avg_factor=len(offsets))
        return losses

    # ------------------------------------------------------------------ prediction

    def box_quality(self, bbox_pred: Tensor | None) -> Tensor | None:
        return None if bbox_pred is None else self.buckets.confidence(bbox_pred.float())
