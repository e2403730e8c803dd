"""Feature pyramid of HRNet."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from mmkit.errors import InvalidTypeError, InvalidValueError
from mmkit.layers import BaseModule, ConvModule, InitCfg, ModuleList
from mmkit.models.necks.fpn import check_inputs
from mmkit.registry import NECKS, Cfg

CAFFE2_XAVIER = dict(type='Caffe2Xavier', layer='Conv2d')


@NECKS.register_module()
class HRFPN(BaseModule):
    """All levels upsampled to the finest size, concatenated, and pooled into a pyramid (arXiv:1904.04514).

    Args:
        in_channels: channels of every level of the backbone.
        out_channels: channels of every level of the pyramid.
        num_outs: levels of the pyramid.
        pooling_type: 'AVG' or 'MAX'.
        conv_cfg: kind of convolution.
        norm_cfg: must be None; the neck has no norm.
        with_cp: recompute activations in the backward pass instead of keeping them.
        stride: of the convolution of every level.
        init_cfg: initial weights.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int = 5,
        pooling_type: str = 'AVG',
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg | None = None,
        with_cp: bool = False,
        stride: int = 1,
        init_cfg: InitCfg = CAFFE2_XAVIER,
    ) -> None:
        super().__init__(init_cfg)
        if not isinstance(in_channels, (list, tuple)):
            raise InvalidTypeError(f'in_channels is a list, got {in_channels!r}', key='in_channels')
        if norm_cfg is not None:
            raise InvalidValueError(
                f'HRFPN has no norm layers: norm_cfg must be None, got {norm_cfg!r}', key='norm_cfg'
            )
        if pooling_type not in ('AVG', 'MAX'):
            raise InvalidValueError(f"pooling_type is 'AVG' or 'MAX', got {pooling_type!r}", key='pooling_type')
        self.in_channels, self.out_channels, self.num_outs = tuple(in_channels), out_channels, num_outs
        self.with_cp = with_cp
        self.pool = F.max_pool2d if pooling_type == 'MAX' else F.avg_pool2d
        self.reduction_conv = ConvModule(sum(in_channels), out_channels, 1, conv_cfg=conv_cfg, act_cfg=None)
        self.fpn_convs = ModuleList(
            ConvModule(out_channels, out_channels, 3, stride=stride, padding=1, conv_cfg=conv_cfg, act_cfg=None)
            for _ in range(num_outs)
        )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone levels (B, C_l, H / 2^l, W / 2^l) -> `num_outs` levels (B, out_channels, ...), finest first."""
        check_inputs('HRFPN', inputs, self.in_channels)
        coarser = enumerate(inputs[1:], 1)
        upsampled = [F.interpolate(level, scale_factor=2**index, mode='bilinear') for index, level in coarser]
        joined = torch.cat([inputs[0], *upsampled], 1)
        if self.with_cp and joined.requires_grad:
            base = checkpoint(self.reduction_conv, joined, use_reentrant=False)
        else:
            base = self.reduction_conv(joined)
        levels = [base] + [self.pool(base, 2**index, 2**index) for index in range(1, self.num_outs)]
        if self.with_cp and base.requires_grad:
            return tuple(
                checkpoint(conv, level, use_reentrant=False) for conv, level in zip(self.fpn_convs, levels, strict=True)
            )
        return tuple(conv(level) for conv, level in zip(self.fpn_convs, levels, strict=True))
