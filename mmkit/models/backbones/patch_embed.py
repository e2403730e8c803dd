"""Tokens of an image and back, for the transformers with stages."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.layers import build_norm_layer
from mmkit.registry import Cfg

Size = tuple[int, int]
GELU = dict(type='GELU')
TRUNCATED_NORMAL = (
    dict(type='TruncNormal', layer='Linear', std=0.02),
    dict(type='Constant', layer='LayerNorm', val=1),
)


def to_map(tokens: Tensor, size: Size) -> Tensor:
    """(B, h*w, C) -> (B, C, h, w)."""
    return tokens.transpose(1, 2).view(len(tokens), -1, *size)


def to_tokens(x: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, h*w, C)."""
    return x.flatten(2).transpose(1, 2)


def pad_to_multiple(x: Tensor, height: int, width: int) -> Tensor:
    """(B, C, H, W) padded with zeros at the right and at the bottom to multiples of `height` and `width`."""
    return F.pad(x, (0, -x.shape[-1] % width, 0, -x.shape[-2] % height))


class PatchEmbed(nn.Module):
    """A convolution from patches to tokens.

    Args:
        in_channels, embed_dims: channels of the image and of the tokens.
        patch_size, stride: of the convolution.
        norm_cfg: norm of the tokens, None for none.
        padding: of the convolution; None pads the image at the right and bottom to a multiple of `stride`.
    """

    def __init__(
        self,
        in_channels: int,
        embed_dims: int,
        patch_size: int,
        *,
        stride: int,
        norm_cfg: Cfg | None,
        padding: int | None = None,
    ) -> None:
        super().__init__()
        self.multiple = stride if padding is None else 1
        self.projection = nn.Conv2d(in_channels, embed_dims, patch_size, stride, padding or 0)
        self.norm = build_norm_layer(norm_cfg, embed_dims)[1] if norm_cfg else None

    def forward(self, x: Tensor) -> tuple[Tensor, Size]:
        """(B, C, H, W) -> tokens (B, h*w, embed_dims) and (h, w)."""
        x = self.projection(pad_to_multiple(x, self.multiple, self.multiple))
        size = (x.shape[-2], x.shape[-1])
        x = to_tokens(x)
        return x if self.norm is None else self.norm(x), size
