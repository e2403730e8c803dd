"""Upsampling layers by type."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.layers.init import normal_init, xavier_init
from mmkit.registry import UPSAMPLE_LAYERS, Cfg, build_from_cfg

UPSAMPLE_LAYERS.register_module(['nearest', 'bilinear'], module=nn.Upsample)


@UPSAMPLE_LAYERS.register_module(name='pixel_shuffle')
class PixelShufflePack(nn.Module):
    """Sub-pixel convolution: scale_factor^2 times the channels, rearranged into space (arXiv:1609.05158).

    Args:
        in_channels, out_channels: channels before and after.
        scale_factor: output size / input size.
        upsample_kernel: kernel size of the convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, scale_factor: int, upsample_kernel: int) -> None:
        super().__init__()
        self.scale_factor = scale_factor
        self.upsample_conv = nn.Conv2d(
            in_channels, out_channels * scale_factor**2, upsample_kernel, padding=(upsample_kernel - 1) // 2
        )
        xavier_init(self.upsample_conv, distribution='uniform')

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.upsample_conv(x), self.scale_factor)


@UPSAMPLE_LAYERS.register_module(name='carafe')
class CARAFEPack(nn.Module):
    """Upsampling with a kernel predicted for every position (arXiv:1905.02188).

    Args:
        channels: of the input and output.
        scale_factor: output size / input size.
        up_kernel: size of the predicted kernels, odd.
        up_group: groups of channels, each with its own kernels.
        encoder_kernel, encoder_dilation: of the convolution that predicts the kernels.
        compressed_channels: input channels of that convolution.
    """

    def __init__(
        self,
        channels: int,
        scale_factor: int,
        up_kernel: int = 5,
        up_group: int = 1,
        encoder_kernel: int = 3,
        encoder_dilation: int = 1,
        compressed_channels: int = 64,
    ) -> None:
        super().__init__()
        self.scale_factor, self.up_kernel, self.up_group = scale_factor, up_kernel, up_group
        self.channel_compressor = nn.Conv2d(channels, compressed_channels, 1)
        self.content_encoder = nn.Conv2d(
            compressed_channels,
            (up_kernel * scale_factor) ** 2 * up_group,
            encoder_kernel,
            padding=(encoder_kernel - 1) * encoder_dilation // 2,
            dilation=encoder_dilation,
        )
        self.init_weights()

    def init_weights(self) -> None:
        """Small random weights: predicted kernels start nearly uniform."""
        xavier_init(self.channel_compressor, distribution='uniform')
        normal_init(self.content_encoder, std=0.001)

    def forward(self, x: Tensor) -> Tensor:
        (batch, channels, height, width), scale, groups = x.shape, self.scale_factor, self.up_group
        area = self.up_kernel**2
        kernels = self.content_encoder(self.channel_compressor(x))
        grid = (batch, groups, area, scale, scale, height, width)
        kernels = kernels.view(grid).permute((0, 1, 2, 5, 3, 6, 4)).softmax(2)  # (B, G, K * K, H, S, W, S)
        around = F.unfold(x, self.up_kernel, padding=self.up_kernel // 2)  # (B, C * K * K, H * W)
        around = around.view((batch, groups, channels // groups, area, height, width, 1))
        rows = [(around * kernels[:, :, None, :, :, row]).sum(3) for row in range(scale)]  # (B, G, C/G, H, W, S) each
        return torch.stack(rows, 4).reshape(batch, channels, height * scale, width * scale)


def build_upsample_layer(cfg: Cfg, **arguments: Any) -> nn.Module:
    """Build the upsampling of a config: 'nearest', 'bilinear', 'deconv', 'pixel_shuffle' or 'carafe'."""
    merged = {**cfg, **arguments}
    if merged.get('type') in ('nearest', 'bilinear'):
        merged['mode'] = merged['type']
    layer: nn.Module = build_from_cfg(merged, UPSAMPLE_LAYERS)
    return layer
