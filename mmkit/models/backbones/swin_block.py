"""The parts of a Swin Transformer: attention in shifted windows, blocks, stages."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from mmkit.layers import FFN, DropPath, build_norm_layer
from mmkit.models.backbones.patch_embed import Size, pad_to_multiple, to_map, to_tokens
from mmkit.registry import Cfg


class PatchMerging(nn.Module):
    """Patch merging: `stride` x `stride` neighbouring tokens become one of `out_channels`."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, norm_cfg: Cfg) -> None:
        super().__init__()
        self.stride = stride
        width = in_channels * stride**2
        self.norm = build_norm_layer(norm_cfg, width)[1]
        self.reduction = nn.Linear(width, out_channels, bias=False)

    def forward(self, x: Tensor, size: Size) -> tuple[Tensor, Size]:
        x = pad_to_multiple(to_map(x, size), self.stride, self.stride)
        size = (x.shape[-2] // self.stride, x.shape[-1] // self.stride)
        x = to_tokens(F.pixel_unshuffle(x, self.stride))  # (B, h*w, C * stride^2)
        return self.reduction(self.norm(x)), size


def relative_position_index(height: int, width: int) -> Tensor:
    """Index into the bias table for every pair of cells of a window, (h*w, h*w)."""
    ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    step = (2 * width - 1) * ys.flatten() + xs.flatten()
    return step[:, None] - step + step[-1]


class WindowMSA(nn.Module):
    """Multi-head attention within windows, with a learned bias for each relative position."""

    relative_position_index: Tensor

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        window_size: int,
        *,
        qkv_bias: bool,
        qk_scale: float | None,
        attn_drop: float,
        proj_drop: float,
    ) -> None:
        super().__init__()
        self.num_heads, self.window_size = num_heads, window_size
        self.scale = qk_scale or (embed_dims // num_heads) ** -0.5
        self.attn_drop = attn_drop
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window_size - 1) ** 2, num_heads))
        self.register_buffer('relative_position_index', relative_position_index(window_size, window_size))
        self.qkv = nn.Linear(embed_dims, embed_dims * 3, bias=qkv_bias)
        self.proj = nn.Linear(embed_dims, embed_dims)
        self.proj_drop = nn.Dropout(proj_drop)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(B * windows, N, C) in and out; `mask` (windows, N, N) is added to the attention logits."""
        count, cells, dims = x.shape
        query, key, value = self.qkv(x).view(count, cells, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        bias = self.relative_position_bias_table[self.relative_position_index.flatten()]
        bias = bias.view(cells, cells, -1).permute(2, 0, 1)[None]  # (1, heads, N, N)
        if mask is not None:
            bias = (bias + mask[:, None]).repeat(count // len(mask), 1, 1, 1)
        drop = self.attn_drop if self.training else 0.0
        out = F.scaled_dot_product_attention(query, key, value, bias.to(query.dtype), dropout_p=drop, scale=self.scale)
        x = self.proj_drop(self.proj(out.transpose(1, 2).reshape(count, cells, dims)))
        return x


class ShiftWindowMSA(nn.Module):
    """`WindowMSA` on windows that are shifted by `shift_size` cells."""

    def __init__(self, w_msa: WindowMSA, shift_size: int, drop_path: float) -> None:
        super().__init__()
        self.window_size = w_msa.window_size
        self.shift_size = shift_size
        self.w_msa = w_msa
        self.drop = DropPath(drop_path)

    def forward(self, x: Tensor, size: Size) -> Tensor:
        height, width = size
        grid = pad_to_multiple(to_map(x, size), self.window_size, self.window_size)
        padded = (grid.shape[-2], grid.shape[-1])
        grid = grid.permute(0, 2, 3, 1)  # (B, H, W, C)
        if self.shift_size:
            grid = torch.roll(grid, (-self.shift_size, -self.shift_size), dims=(1, 2))
        mask = self._mask(padded, x.device) if self.shift_size else None
        windows = self.w_msa(self._split(grid), mask)
        grid = self._join(windows, len(x), padded)
        if self.shift_size:
            grid = torch.roll(grid, (self.shift_size, self.shift_size), dims=(1, 2))
        x = self.drop(grid[:, :height, :width].flatten(1, 2))
        return x

    def _split(self, grid: Tensor) -> Tensor:
        """(B, H, W, C) -> (B * windows, window_size^2, C)."""
        (batch, height, width, channels), w = grid.shape, self.window_size
        grid = grid.view(batch, height // w, w, width // w, w, channels)
        return grid.transpose(2, 3).flatten(0, 2).flatten(1, 2)

    def _join(self, windows: Tensor, batch: int, size: Size) -> Tensor:
        """(B * windows, window_size^2, C) -> (B, H, W, C)."""
        w = self.window_size
        grid = windows.view(batch, size[0] // w, size[1] // w, w, w, -1)
        return grid.transpose(2, 3).reshape(batch, *size, -1)

    def _mask(self, size: Size, device: torch.device) -> Tensor:
        """Mask (windows, N, N) of -100 between cells that only the cyclic shift made neighbours."""
        w, shift = self.window_size, self.shift_size
        region = torch.zeros(1, *size, 1, device=device)
        cuts = (slice(0, -w), slice(-w, -shift), slice(-shift, None))
        for number, (rows, columns) in enumerate((r, c) for r in cuts for c in cuts):
            region[:, rows, columns] = number
        cells = self._split(region).squeeze(-1)  # (windows, N)
        return (cells[:, None] != cells[:, :, None]).float() * -100.0


class SwinBlock(nn.Module):
    """Windowed attention and a feed-forward network, each after a norm and with a residual connection."""

    def __init__(self, embed_dims: int, attn: ShiftWindowMSA, ffn: FFN, *, norm_cfg: Cfg, with_cp: bool) -> None:
        super().__init__()
        self.with_cp = with_cp
        self.norm1 = build_norm_layer(norm_cfg, embed_dims)[1]
        self.attn = attn
        self.norm2 = build_norm_layer(norm_cfg, embed_dims)[1]
        self.ffn = ffn

    def _forward(self, x: Tensor, size: Size) -> Tensor:
        x = x + self.attn(self.norm1(x), size)
        x = self.ffn(self.norm2(x), identity=x)
        return x

    def forward(self, x: Tensor, size: Size) -> Tensor:
        if self.with_cp and x.requires_grad:
            x = checkpoint(self._forward, x, size, use_reentrant=False)
            return x
        return self._forward(x, size)


class SwinStage(nn.Module):
    """Blocks, of which every second one is shifted, and the patch merging after all stages but the last."""

    def __init__(self, blocks: Sequence[SwinBlock], downsample: PatchMerging | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor, size: Size) -> tuple[Tensor, Tensor, Size]:
        """The output of the stage, and the input of the next one with its size."""
        for block in self.blocks:
            x = block(x, size)
        return (x, x, size) if self.downsample is None else (x, *self.downsample(x, size))
