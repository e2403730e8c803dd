"""CenterNet's neck, arXiv:1904.07850."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmkit.errors import InvalidValueError
from mmkit.layers import BaseModule, ConvModule
from mmkit.layers.init import InitCfg
from mmkit.registry import NECKS


@NECKS.register_module()
class CTResNetNeck(BaseModule):
    """Enlarges the coarsest map step by step: a 3x3 convolution, and a deconvolution that doubles the size.

    Args:
        in_channels: of that map.
        num_deconv_filters, num_deconv_kernels: channels and kernel size of every step.
        use_dcn: the convolutions are deformable.
    """

    def __init__(
        self,
        in_channels: int,
        num_deconv_filters: Sequence[int],
        num_deconv_kernels: Sequence[int],
        use_dcn: bool = True,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(init_cfg)
        if len(num_deconv_filters) != len(num_deconv_kernels):
            message = f'{len(num_deconv_filters)} num_deconv_filters and {len(num_deconv_kernels)} num_deconv_kernels'
            raise InvalidValueError(message, key='num_deconv_kernels')
        conv_cfg = dict(type='DCNv2') if use_dcn else None
        layers: list[nn.Module] = []
        for channels, kernel in zip(num_deconv_filters, num_deconv_kernels):
            layers.append(ConvModule(in_channels, channels, 3, padding=1, conv_cfg=conv_cfg, norm_cfg=dict(type='BN')))
            deconv = dict(type='deconv')
            layers.append(
                ConvModule(channels, channels, kernel, stride=2, padding=1, conv_cfg=deconv, norm_cfg=dict(type='BN'))
            )
            in_channels = channels
        self.deconv_layers = nn.Sequential(*layers)

    def init_weights(self) -> None:
        """The deconvolutions begin as bilinear interpolation."""
        super().init_weights()
        for layer in self.modules():
            if isinstance(layer, nn.ConvTranspose2d):
                size = layer.kernel_size[0]
                half = math.ceil(size / 2)
                ramp = 1 - (torch.arange(size) / half - (2 * half - 1 - half % 2) / (2 * half)).abs()
                layer.weight.data.zero_()
                layer.weight.data.diagonal().copy_((ramp[:, None] * ramp)[..., None])  # each channel of its own

    def forward(self, feats: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Levels -> the enlarged map (B, C, H, W) of the last."""
        return (self.deconv_layers(feats[-1]),)
