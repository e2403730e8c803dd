"""The semantic branch of the hybrid task cascade, arXiv:1901.07518."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from mmkit.errors import InvalidValueError
from mmkit.layers import BaseModule, ConvModule
from mmkit.layers.init import InitCfg
from mmkit.registry import HEADS, LOSSES, Cfg

KAIMING = dict(type='Kaiming', override=dict(name='conv_logits'))


@HEADS.register_module()
class FusedSemanticHead(BaseModule):
    """Class logits and features for every cell of one level, from the sum of all levels at the size of that one.

    Args:
        num_ins: number of levels.
        fusion_level: the level whose size the others take.
        num_convs: 3x3 convolutions after the sum.
        num_classes: of the segmentation.
        seg_scale_factor: maps of the size of the images are reduced by it, to that of the level; 1: they have been.
        ignore_label, loss_weight: older spellings of `ignore_index` and `loss_weight` in `loss_seg`.
    """

    def __init__(
        self,
        num_ins: int,
        fusion_level: int,
        *,
        seg_scale_factor: float = 1.0,
        num_convs: int = 4,
        in_channels: int = 256,
        conv_out_channels: int = 256,
        num_classes: int = 183,
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg | None = None,
        ignore_label: int | None = None,
        loss_weight: float | None = None,
        loss_seg: Cfg = dict(type='CrossEntropyLoss', ignore_index=255, loss_weight=0.2),
        init_cfg: InitCfg = KAIMING,
    ) -> None:
        super().__init__(init_cfg)
        old = {k: v for k, v in dict(ignore_index=ignore_label, loss_weight=loss_weight).items() if v}
        if old:
            warnings.warn(f'FusedSemanticHead: give {sorted(old)} inside of loss_seg', stacklevel=2)
            loss_seg = {**loss_seg, **old}
        self.fusion_level = fusion_level
        self.seg_scale_factor = seg_scale_factor
        conv = partial(ConvModule, conv_cfg=conv_cfg, norm_cfg=norm_cfg)
        self.lateral_convs = nn.ModuleList(conv(in_channels, in_channels, 1, inplace=False) for _ in range(num_ins))
        widths = [in_channels, *[conv_out_channels] * num_convs]
        self.convs = nn.ModuleList(conv(a, b, 3, padding=1) for a, b in pairwise(widths))
        self.conv_embedding = conv(widths[-1], conv_out_channels, 1)
        self.conv_logits = nn.Conv2d(conv_out_channels, num_classes, 1)
        self.loss_seg = LOSSES.build(loss_seg)

    def forward(self, feats: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Levels (B, in_channels, h_l, w_l) -> logits (B, num_classes, h, w), features (B, conv_out_channels, h, w).

        Raises:
            InvalidValueError: for another number of levels than `num_ins`.
        """
        if len(feats) != len(self.lateral_convs):
            raise InvalidValueError(
                f'FusedSemanticHead: num_ins is {len(self.lateral_convs)}, got {len(feats)} feature maps'
            )
        size = feats[self.fusion_level].shape[-2:]
        fused = self.lateral_convs[self.fusion_level](feats[self.fusion_level])
        for level, (conv, feat) in enumerate(zip(self.lateral_convs, feats)):
            if level != self.fusion_level:
                fused = fused + conv(functional.interpolate(feat, size=size, mode='bilinear', align_corners=True))
        for conv in self.convs:
            fused = conv(fused)
        return self.conv_logits(fused), self.conv_embedding(fused)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross entropy with the (B, 1, h, w) `labels`, or those of the size of the images."""
        if self.seg_scale_factor != 1 and labels.shape[-2:] != logits.shape[-2:]:
            labels = functional.interpolate(labels.float(), scale_factor=self.seg_scale_factor, mode='nearest')
        loss: Tensor = self.loss_seg(logits.float(), labels.squeeze(1).long())
        return loss
