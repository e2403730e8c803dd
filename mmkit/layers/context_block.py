"""Global context block."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmkit.errors import InvalidValueError
from mmkit.layers.init import constant_init, kaiming_init
from mmkit.registry import PLUGIN_LAYERS

FUSIONS = ('channel_add', 'channel_mul')


@PLUGIN_LAYERS.register_module()
class ContextBlock(nn.Module):
    """Global context block: attention pools a context that is added to, or gates, every position (arXiv:1904.11492).

    Args:
        in_channels: channels of the map.
        ratio: bottleneck width of the transform, as a fraction of `in_channels`.
        pooling_type: 'att' (learned attention) or 'avg'.
        fusion_types: some of 'channel_add' and 'channel_mul'.
    """

    _abbr_ = 'context_block'

    def __init__(
        self, in_channels: int, ratio: float, pooling_type: str = 'att', fusion_types: Sequence[str] = ('channel_add',)
    ) -> None:
        super().__init__()
        if pooling_type not in ('att', 'avg'):
            raise InvalidValueError(f"pooling_type is 'att' or 'avg', got {pooling_type!r}", key='pooling_type')
        if not fusion_types or not set(fusion_types) <= set(FUSIONS):
            raise InvalidValueError(f'fusion_types is some of {FUSIONS}, got {fusion_types!r}', key='fusion_types')
        planes = int(in_channels * ratio)
        self.conv_mask: nn.Conv2d | None = None
        if pooling_type == 'att':
            self.conv_mask = nn.Conv2d(in_channels, 1, 1)
            kaiming_init(self.conv_mask, mode='fan_in')
        self.channel_add_conv = _transform(in_channels, planes) if 'channel_add' in fusion_types else None
        self.channel_mul_conv = _transform(in_channels, planes) if 'channel_mul' in fusion_types else None

    def _context(self, x: Tensor) -> Tensor:
        """Pooled features (B, C, 1, 1)."""
        if self.conv_mask is None:
            return x.mean((2, 3), keepdim=True)
        attention = self.conv_mask(x).flatten(2).softmax(2)  # (B, 1, H * W)
        return torch.einsum('bcp,bkp->bck', x.flatten(2), attention)[..., None]

    def forward(self, x: Tensor) -> Tensor:
        context = self._context(x)  # (B, C, 1, 1)
        if self.channel_mul_conv is not None:
            x = x * self.channel_mul_conv(context).sigmoid()
        if self.channel_add_conv is not None:
            x = x + self.channel_add_conv(context)
        return x


def _transform(channels: int, planes: int) -> nn.Sequential:
    last = nn.Conv2d(planes, channels, 1)
    constant_init(last, 0)  # the block starts as the identity
    return nn.Sequential(nn.Conv2d(channels, planes, 1), nn.LayerNorm([planes, 1, 1]), nn.ReLU(inplace=True), last)
