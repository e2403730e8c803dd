"""Neck of SSD."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmkit.errors import InvalidValueError
from mmkit.layers import (
    BaseModule,
    ConvModule,
    DepthwiseSeparableConvModule,
    InitCfg,
    LayerCfgs,
    ModuleList,
    Sequential,
)
from mmkit.registry import NECKS, Cfg

RELU = dict(type='ReLU')
DEFAULT_INIT = (
    dict(type='Xavier', distribution='uniform', layer='Conv2d'),
    dict(type='Constant', val=1, layer='BatchNorm2d'),
)


class L2Norm(nn.Module):
    """Features normalised over the channels, times a learnable weight per channel (arXiv:1506.04579).

    Args:
        num_features: channels.
        scale: initial weight.
        eps: added to the norm.
    """

    def __init__(self, num_features: int, scale: float = 20.0, eps: float = 1e-10) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((num_features,), float(scale)))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()  # squares overflow in half precision
        norm = wide.square().sum(1, keepdim=True).sqrt() + self.eps
        return (self.weight.float()[:, None, None] * wide / norm).to(x.dtype)


@NECKS.register_module()
class SSDNeck(BaseModule):
    """The levels of the backbone, the first of them normalised, and further, coarser ones (arXiv:1512.02325).

    Args:
        in_channels: channels of every level of the backbone.
        out_channels: channels of every level of the output, beginning with `in_channels`.
        level_strides, level_paddings: of the 3 x 3 convolution of every further level.
        l2_norm_scale: initial scale of the normalised first level; None or 0 for no normalisation.
        last_kernel_size: of the last level's convolution.
        use_depthwise: make these convolutions depthwise separable.
        conv_cfg, norm_cfg, act_cfg: kinds of layer.
        init_cfg: initial weights.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: Sequence[int],
        level_strides: Sequence[int],
        level_paddings: Sequence[int],
        l2_norm_scale: float | None = 20.0,
        last_kernel_size: int = 3,
        use_depthwise: bool = False,
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg | None = None,
        act_cfg: Cfg | None = RELU,
        init_cfg: InitCfg = DEFAULT_INIT,
    ) -> None:
        super().__init__(init_cfg)
        given, num_extra = len(in_channels), len(out_channels) - len(in_channels)
        if num_extra < 1 or list(out_channels[:given]) != list(in_channels):
            raise InvalidValueError(
                f'out_channels begins with in_channels and has more, got {list(out_channels)} for {list(in_channels)}',
                key='out_channels',
            )
        for key, values in (('level_strides', level_strides), ('level_paddings', level_paddings)):
            if len(values) != num_extra:
                raise InvalidValueError(
                    f'{key} has one value for each of the {num_extra} further levels, got {values!r}', key=key
                )
        self.l2_norm = L2Norm(in_channels[0], l2_norm_scale) if l2_norm_scale else None
        cfgs = LayerCfgs(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        conv = DepthwiseSeparableConvModule if use_depthwise else ConvModule
        self.extra_layers = ModuleList()
        for index, (stride, padding) in enumerate(zip(level_strides, level_paddings, strict=True)):
            source, target = out_channels[given + index - 1], out_channels[given + index]
            kernel_size = last_kernel_size if index == num_extra - 1 else 3
            self.extra_layers.append(
                Sequential(
                    ConvModule(source, target // 2, 1, **cfgs),
                    conv(target // 2, target, kernel_size, stride=stride, padding=padding, **cfgs),
                )
            )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone levels (B, C_l, H_l, W_l) -> these, and further ones, finest first."""
        outs = list(inputs)
        if self.l2_norm is not None:
            outs[0] = self.l2_norm(outs[0])
        for layer in self.extra_layers:
            outs.append(layer(outs[-1]))
        return tuple(outs)
