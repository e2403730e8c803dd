"""The mask head of the hybrid task cascade, arXiv:1901.07518."""

from __future__ import annotations

from torch import Tensor
from typing_extensions import Unpack

from mmkit.layers import ConvModule
from mmkit.models.mask_heads.fcn_mask_head import FCNMaskHead, FCNMaskHeadArgs
from mmkit.registry import HEADS


@HEADS.register_module()
class HTCMaskHead(FCNMaskHead):
    """An `FCNMaskHead` that adds the hidden features of the stage before, through a 1x1 convolution.

    Args:
        with_conv_res: has that convolution; the first stage needs none.

    Others as in `FCNMaskHead`.
    """

    def __init__(self, with_conv_res: bool = True, **kwargs: Unpack[FCNMaskHeadArgs]) -> None:
        super().__init__(**kwargs)
        self.conv_res: ConvModule | None = None
        if with_conv_res:
            width = self.conv_out_channels
            self.conv_res = ConvModule(width, width, 1, conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg)

    def hidden(self, feats: Tensor, previous: Tensor | None = None) -> Tensor:
        """(R, in_channels, h, w) and the `previous` stage's hidden features -> (R, conv_out_channels, h, w)."""
        if previous is not None:
            assert self.conv_res is not None
            feats = feats + self.conv_res(previous)
        return super().hidden(feats)
