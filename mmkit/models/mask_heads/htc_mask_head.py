"""The mask head of a hybrid task cascade, arXiv:1901.07518."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from mmkit.layers import ConvModule
from mmkit.layers.init import InitCfg
from mmkit.models.mask_heads.fcn_mask_head import FCNMaskHead
from mmkit.registry import HEADS


@HEADS.register_module()
class HTCMaskHead(FCNMaskHead):
    """An `FCNMaskHead` that adds the hidden features of the stage before, through a 1x1 convolution.

    Args:
        with_conv_res: has that convolution; the first stage needs none.
    """

    def __init__(
        self,
        with_conv_res: bool = True,
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
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(
            num_convs=num_convs,
            roi_feat_size=roi_feat_size,
            in_channels=in_channels,
            conv_kernel_size=conv_kernel_size,
            conv_out_channels=conv_out_channels,
            num_classes=num_classes,
            class_agnostic=class_agnostic,
            upsample_cfg=upsample_cfg,
            conv_cfg=conv_cfg,
            norm_cfg=norm_cfg,
            predictor_cfg=predictor_cfg,
            loss_mask=loss_mask,
            init_cfg=init_cfg,
        )
        self.conv_res: ConvModule | None = None
        if with_conv_res:
            self.conv_res = ConvModule(conv_out_channels, conv_out_channels, 1, conv_cfg=conv_cfg, norm_cfg=norm_cfg)

    def hidden(self, feats: Tensor, previous: Tensor | None = None) -> Tensor:
        """(R, in_channels, h, w) and the `previous` stage's hidden features -> (R, conv_out_channels, h, w)."""
        if previous is not None:
            assert self.conv_res is not None
            feats = feats + self.conv_res(previous)
        return super().hidden(feats)
