"""Balanced feature pyramid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.errors import InvalidValueError
from mmkit.layers import BaseModule, ConvModule, InitCfg, NonLocal2d
from mmkit.models.necks.fpn import XAVIER
from mmkit.registry import NECKS, Cfg


@NECKS.register_module()
class BFP(BaseModule):
    """Balanced feature pyramid: the refined mean of all levels is added to every level (arXiv:1904.02701).

    Args:
        in_channels: channels of every level.
        num_levels: number of levels.
        refine_level: the level at whose size the mean is taken.
        refine_type: 'conv', 'non_local', or None for no refinement.
        conv_cfg, norm_cfg: kinds of layer of the refinement.
        init_cfg: initial weights.
    """

    def __init__(
        self,
        in_channels: int,
        num_levels: int,
        refine_level: int = 2,
        refine_type: str | None = None,
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg | None = None,
        init_cfg: InitCfg = XAVIER,
    ) -> None:
        super().__init__(init_cfg)
        if refine_type not in (None, 'conv', 'non_local'):
            raise InvalidValueError(
                f"refine_type is None, 'conv' or 'non_local', got {refine_type!r}", key='refine_type'
            )
        if not 0 <= refine_level < num_levels:
            raise InvalidValueError(
                f'refine_level is from 0 to {num_levels - 1}, got {refine_level}', key='refine_level'
            )
        self.num_levels, self.refine_level = num_levels, refine_level
        self.refine: nn.Module | None = None
        if refine_type == 'conv':
            self.refine = ConvModule(in_channels, in_channels, 3, padding=1, conv_cfg=conv_cfg, norm_cfg=norm_cfg)
        elif refine_type == 'non_local':
            self.refine = NonLocal2d(in_channels, reduction=1, use_scale=False, conv_cfg=conv_cfg, norm_cfg=norm_cfg)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Levels (B, C, H_l, W_l), finest first, in and out."""
        if len(inputs) != self.num_levels:
            raise InvalidValueError(
                f'BFP: num_levels is {self.num_levels}, got {len(inputs)} feature maps', key='num_levels'
            )
        size = inputs[self.refine_level].shape[2:]
        resized = [_resize(level, size, shrink=index < self.refine_level) for index, level in enumerate(inputs)]
        mean = torch.stack(resized).mean(0)
        if self.refine is not None:
            mean = self.refine(mean)
        return tuple(
            level + _resize(mean, level.shape[2:], shrink=index >= self.refine_level)
            for index, level in enumerate(inputs)
        )


def _resize(x: Tensor, size: torch.Size, shrink: bool) -> Tensor:
    return F.adaptive_max_pool2d(x, size) if shrink else F.interpolate(x, size=size, mode='nearest')
