"""Positional encodings of the cells of a feature map."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mmkit.layers.base_module import BaseModule
from mmkit.layers.init import InitCfg
from mmkit.registry import POSITIONAL_ENCODING

UNIFORM = dict(type='Uniform', layer='Embedding')


def sine_embedding(positions: Tensor, num_feats: int, temperature: float) -> Tensor:
    """(...) positions -> (..., num_feats): sines and cosines of falling frequency, interleaved (arXiv:1706.03762)."""
    index = torch.arange(num_feats, dtype=torch.float32, device=positions.device)
    angles = positions[..., None] / temperature ** (2 * (index // 2) / num_feats)
    return torch.stack([angles[..., 0::2].sin(), angles[..., 1::2].cos()], dim=-1).flatten(-2)


@POSITIONAL_ENCODING.register_module()
class SinePositionalEncoding(BaseModule):
    """Sines of row and column, counted without padding (DETR, arXiv:2005.12872).

    Args:
        num_feats: channels for each of row and column.
        temperature: base of the wavelengths.
        normalize: rows and columns as fractions of the image's size, times `scale`.
        scale: see `normalize`, in radians.
        eps: added to the size before dividing by it.
        offset: added to the counts before normalising.
        init_cfg: initial weights; there are none.
    """

    def __init__(
        self,
        num_feats: int,
        temperature: float = 10000,
        normalize: bool = False,
        scale: float = 2 * math.pi,
        eps: float = 1e-6,
        offset: float = 0.0,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(init_cfg)
        self.num_feats = num_feats
        self.temperature = temperature
        self.normalize = normalize
        self.scale = scale
        self.eps = eps
        self.offset = offset

    def forward(self, mask: Tensor) -> Tensor:
        """(B, H, W) bool, True at padding -> (B, 2 * num_feats, H, W)."""
        inside = (~mask).float()
        ys, xs = inside.cumsum(1), inside.cumsum(2)
        if self.normalize:
            ys = (ys + self.offset) / (ys[:, -1:] + self.eps) * self.scale
            xs = (xs + self.offset) / (xs[:, :, -1:] + self.eps) * self.scale
        parts = [sine_embedding(p, self.num_feats, self.temperature) for p in (ys, xs)]
        return torch.cat(parts, dim=-1).permute(0, 3, 1, 2)


@POSITIONAL_ENCODING.register_module()
class LearnedPositionalEncoding(BaseModule):
    """A learned vector for each row and each column.

    Args:
        num_feats: channels for each of row and column.
        row_num_embed, col_num_embed: the largest height and width, in cells.
        init_cfg: initial weights.
    """

    def __init__(
        self,
        num_feats: int,
        row_num_embed: int = 50,
        col_num_embed: int = 50,
        init_cfg: InitCfg = UNIFORM,
    ) -> None:
        super().__init__(init_cfg)
        self.num_feats = num_feats
        self.row_embed = nn.Embedding(row_num_embed, num_feats)
        self.col_embed = nn.Embedding(col_num_embed, num_feats)

    def forward(self, mask: Tensor) -> Tensor:
        """(B, H, W) -> (B, 2 * num_feats, H, W)."""
        batch, height, width = mask.shape
        columns = self.col_embed.weight[:width].expand(height, -1, -1)
        rows = self.row_embed.weight[:height, None].expand(-1, width, -1)
        return torch.cat([columns, rows], dim=-1).permute(2, 0, 1).expand(batch, -1, -1, -1)
