"""Dropout of values, blocks and whole branches."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.errors import InvalidValueError
from mmkit.registry import DROPOUT_LAYERS, PLUGIN_LAYERS, Cfg, build_from_cfg


@DROPOUT_LAYERS.register_module()
class DropPath(nn.Module):
    """Stochastic depth: zero a sample with probability `drop_prob` and scale up the others (arXiv:1603.09382)."""

    def __init__(self, drop_prob: float = 0.1) -> None:
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x: Tensor) -> Tensor:
        if self.drop_prob == 0 or not self.training:
            return x
        keep = 1 - self.drop_prob
        mask = torch.rand(x.shape[:1] + (1,) * (x.dim() - 1), device=x.device, dtype=x.dtype) < keep
        return x / keep * mask

    def extra_repr(self) -> str:
        return f'drop_prob={self.drop_prob}'


@DROPOUT_LAYERS.register_module()
class Dropout(nn.Dropout):
    """nn.Dropout whose probability is called `drop_prob`."""

    def __init__(self, drop_prob: float = 0.5, inplace: bool = False) -> None:
        super().__init__(drop_prob, inplace)


@PLUGIN_LAYERS.register_module()
class DropBlock(nn.Module):
    """Drop square blocks of a feature map (arXiv:1810.12890).

    Args:
        drop_prob: fraction of values to drop, reached after the warm-up.
        block_size: side of the blocks.
        warmup_iters: forward passes in training over which the fraction grows linearly from 0.
        in_channels: given by the backbone that inserts the plugin; has no effect.
    """

    def __init__(
        self, drop_prob: float, block_size: int, warmup_iters: int = 2000, in_channels: int | None = None
    ) -> None:
        super().__init__()
        if not 0 < drop_prob < 1 or block_size <= 0 or warmup_iters < 0:
            raise InvalidValueError(
                f'DropBlock: needs 0 < drop_prob < 1, block_size > 0 and warmup_iters >= 0, got '
                f'{drop_prob}, {block_size}, {warmup_iters}'
            )
        self.drop_prob, self.block_size, self.warmup_iters = drop_prob, block_size, warmup_iters
        self.iter_cnt = 0

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        self.iter_cnt += 1
        height, width = x.shape[-2:]
        warm = self.drop_prob * min(1.0, self.iter_cnt / max(self.warmup_iters, 1))
        block = self.block_size
        positions = x.new_empty(*x.shape[:2], max(height - block + 1, 1), max(width - block + 1, 1))
        # as many corners as it takes for their blocks to cover a fraction `warm` of all values
        rate = warm * height * width / (positions[0, 0].numel() * block**2)
        corners = (torch.rand_like(positions) < rate).to(x.dtype)
        dropped = F.max_pool2d(F.pad(corners, [block - 1] * 4), block, stride=1)[..., :height, :width]
        keep = 1 - dropped
        return x * keep * keep.numel() / (keep.sum() + 1e-6)


def build_dropout(cfg: Cfg) -> nn.Module:
    """Build the dropout of a config: 'Dropout' or 'DropPath'."""
    layer: nn.Module = build_from_cfg(cfg, DROPOUT_LAYERS)
    return layer
