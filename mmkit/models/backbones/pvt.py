"""Pyramid Vision Transformer (arXiv:2102.12122) and its second version (arXiv:2106.13797)."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.errors import InvalidValueError
from mmkit.layers import BaseModule, DropPath, InitCfg, build_activation_layer, build_norm_layer
from mmkit.models.backbones.init_cfg import resolve_init_cfg
from mmkit.models.backbones.patch_embed import GELU, TRUNCATED_NORMAL, PatchEmbed, Size, to_map, to_tokens
from mmkit.registry import BACKBONES, Cfg

LAYER_NORM = dict(type='LN', eps=1e-6)


class AbsolutePositionEmbedding(nn.Module):
    """A learned vector for each cell, interpolated to the size of the feature map."""

    def __init__(self, size: Size, dims: int, drop_rate: float) -> None:
        super().__init__()
        self.size = size
        self.pos_embed = nn.Parameter(torch.zeros(1, size[0] * size[1], dims))
        self.drop = nn.Dropout(drop_rate)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def forward(self, x: Tensor, size: Size) -> Tensor:
        pos = to_map(self.pos_embed, self.size)
        if size != self.size:
            pos = F.interpolate(pos, size=size, mode='bilinear', align_corners=False)
        x = self.drop(x + to_tokens(pos))
        return x


class SpatialReductionAttention(nn.Module):
    """Multi-head attention with keys and values from a map that is `sr_ratio` times smaller."""

    def __init__(
        self,
        dims: int,
        num_heads: int,
        *,
        sr_ratio: int,
        qkv_bias: bool,
        attn_drop: float,
        proj_drop: float,
        norm_cfg: Cfg,
    ) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(dims, num_heads, attn_drop, bias=qkv_bias, batch_first=True)
        self.proj_drop = nn.Dropout(proj_drop)
        self.sr: nn.Module | None = None
        self.norm: nn.Module | None = None
        if sr_ratio > 1:
            self.sr = nn.Conv2d(dims, dims, sr_ratio, sr_ratio)
            self.norm = build_norm_layer(norm_cfg, dims)[1]

    def forward(self, x: Tensor, size: Size) -> Tensor:
        reduced = x
        if self.sr is not None and self.norm is not None:
            reduced = self.norm(to_tokens(self.sr(to_map(x, size))))
        x = self.proj_drop(self.attn(x, reduced, reduced, need_weights=False)[0])
        return x


class MixFFN(nn.Module):
    """Feed-forward network of two 1 x 1 convolutions, with a depthwise 3 x 3 between them if `use_conv`."""

    def __init__(self, dims: int, hidden: int, *, act_cfg: Cfg, drop_rate: float, use_conv: bool) -> None:
        super().__init__()
        between = [nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)] if use_conv else []
        self.layers = nn.Sequential(
            nn.Conv2d(dims, hidden, 1),
            *between,
            build_activation_layer(act_cfg),
            nn.Dropout(drop_rate),
            nn.Conv2d(hidden, dims, 1),
            nn.Dropout(drop_rate),
        )

    def forward(self, x: Tensor, size: Size) -> Tensor:
        return to_tokens(self.layers(to_map(x, size)))


class PVTBlock(nn.Module):
    """Attention and a feed-forward network, each after a norm and with a residual connection."""

    def __init__(
        self,
        dims: int,
        attn: SpatialReductionAttention,
        ffn: MixFFN,
        *,
        drop_path: float,
        norm_cfg: Cfg,
    ) -> None:
        super().__init__()
        self.norm1 = build_norm_layer(norm_cfg, dims)[1]
        self.attn = attn
        self.norm2 = build_norm_layer(norm_cfg, dims)[1]
        self.ffn = ffn
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, size: Size) -> Tensor:
        x = x + self.drop_path(self.attn(self.norm1(x), size))
        x = x + self.drop_path(self.ffn(self.norm2(x), size))
        return x


@BACKBONES.register_module()
class PyramidVisionTransformer(BaseModule):
    """Stages of attention with spatially reduced keys and values, at strides 4, 8, 16, 32.

    Args:
        pretrain_img_size: image size of the absolute position embeddings.
        in_channels: channels of the image.
        embed_dims: channels per attention head; a stage has `embed_dims * num_heads` of them.
        num_stages: number of stages.
        num_layers, num_heads, patch_sizes, strides, paddings, sr_ratios, mlp_ratios: one value for each stage.
        out_indices: stages whose output is returned, from 0.
        qkv_bias: bias of the projections to queries, keys and values.
        drop_rate, attn_drop_rate: dropout of outputs and of attention weights.
        drop_path_rate: of the last block; it rises linearly from 0.
        use_abs_pos_embed: learned positions at the start of each stage.
        norm_after_stage, use_conv_ffn: a norm after each stage, and depthwise convolutions in the feed-forward
            networks, as in the second version.
        act_cfg, norm_cfg: kinds of layer.
        pretrained: deprecated, use init_cfg.
        convert_weights: accept checkpoints with the authors' own names.
        init_cfg: initial weights.
    """

    def __init__(
        self,
        pretrain_img_size: int | Sequence[int] = 224,
        in_channels: int = 3,
        embed_dims: int = 64,
        num_stages: int = 4,
        num_layers: Sequence[int] = [3, 4, 6, 3],
        num_heads: Sequence[int] = [1, 2, 5, 8],
        patch_sizes: Sequence[int] = [4, 2, 2, 2],
        strides: Sequence[int] = [4, 2, 2, 2],
        paddings: Sequence[int] = [0, 0, 0, 0],
        sr_ratios: Sequence[int] = [8, 4, 2, 1],
        out_indices: Sequence[int] = (0, 1, 2, 3),
        mlp_ratios: Sequence[int] = [8, 8, 4, 4],
        qkv_bias: bool = True,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.1,
        use_abs_pos_embed: bool = True,
        norm_after_stage: bool = False,
        use_conv_ffn: bool = False,
        act_cfg: Cfg = GELU,
        norm_cfg: Cfg = LAYER_NORM,
        pretrained: str | None = None,
        convert_weights: bool = True,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(resolve_init_cfg(pretrained, init_cfg, TRUNCATED_NORMAL))
        per_stage = dict(
            num_layers=num_layers,
            num_heads=num_heads,
            patch_sizes=patch_sizes,
            strides=strides,
            paddings=paddings,
            sr_ratios=sr_ratios,
            mlp_ratios=mlp_ratios,
        )
        for key, values in per_stage.items():
            if len(values) != num_stages:
                raise InvalidValueError(f'{key} has one value for each of the {num_stages} stages, got {values}', key)
        self.out_indices = tuple(out_indices)
        self.use_abs_pos_embed, self.convert_weights = use_abs_pos_embed, convert_weights
        sides = [pretrain_img_size] * 2 if isinstance(pretrain_img_size, int) else pretrain_img_size
        rates = iter(torch.linspace(0, drop_path_rate, sum(num_layers), device='cpu').tolist())
        self.layers = nn.ModuleList()
        for stage in range(num_stages):
            dims = embed_dims * num_heads[stage]
            blocks: list[nn.Module] = []
            if use_abs_pos_embed:
                stride = math.prod(strides[: stage + 1])
                blocks.append(AbsolutePositionEmbedding((sides[0] // stride, sides[1] // stride), dims, drop_rate))
            for _ in range(num_layers[stage]):
                attn = SpatialReductionAttention(
                    dims,
                    num_heads[stage],
                    sr_ratio=sr_ratios[stage],
                    qkv_bias=qkv_bias,
                    attn_drop=attn_drop_rate,
                    proj_drop=drop_rate,
                    norm_cfg=norm_cfg,
                )
                ffn = MixFFN(
                    dims, mlp_ratios[stage] * dims, act_cfg=act_cfg, drop_rate=drop_rate, use_conv=use_conv_ffn
                )
                blocks.append(PVTBlock(dims, attn, ffn, drop_path=next(rates), norm_cfg=norm_cfg))
            embed = PatchEmbed(
                in_channels,
                dims,
                patch_sizes[stage],
                stride=strides[stage],
                norm_cfg=norm_cfg,
                padding=paddings[stage],
            )
            norm = build_norm_layer(norm_cfg, dims)[1] if norm_after_stage else nn.Identity()
            self.layers.append(nn.ModuleList([embed, nn.ModuleList(blocks), norm]))
            in_channels = dims

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (B, C, H, W) -> the outputs of `out_indices`, (B, C_i, H / 4, W / 4) and so on."""
        outs = []
        for index, stage in enumerate(self.layers):
            embed, blocks, norm = stage.children()
            x, size = embed(x)
            for block in blocks.children():
                x = block(x, size)
            x = to_map(norm(x), size)
            if index in self.out_indices:
                outs.append(x.contiguous())
        return tuple(outs)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        if self.convert_weights:
            _from_authors(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)


# The second version: overlapping patches, and depthwise convolutions instead of position embeddings.
BACKBONES.register_module(
    'PyramidVisionTransformerV2',
    module=PyramidVisionTransformer,
    defaults=dict(
        patch_sizes=(7, 3, 3, 3),
        paddings=(3, 1, 1, 1),
        use_abs_pos_embed=False,
        norm_after_stage=True,
        use_conv_ffn=True,
    ),
)


def _from_authors(module: PyramidVisionTransformer, state_dict: dict[str, Tensor], prefix: str) -> None:
    """Rename the authors' tensors in place; a state dict with our names stays as it is."""
    if not any(name.startswith(f'{prefix}patch_embed1.') for name in state_dict):
        return
    theirs = {name[len(prefix) :]: state_dict.pop(name) for name in list(state_dict) if name.startswith(prefix)}
    for name, tensor in theirs.items():
        if name.startswith(('head.', 'norm.', 'cls_token')) or '.attn.kv.' in name:
            continue
        if name.endswith(('.attn.q.weight', '.attn.q.bias')):
            tensor = torch.cat([tensor, theirs[name.replace('.q.', '.kv.')]])
        elif name.endswith(('.mlp.fc1.weight', '.mlp.fc2.weight')):
            tensor = tensor[:, :, None, None]
        elif name.startswith('pos_embed'):
            # Their last stage has a position for a class token in front, which a detector does not use.
            own = module.get_parameter(f'layers.{int(name[9:]) - 1}.1.0.pos_embed')
            tensor = tensor[:, -own.shape[1] :]
        state_dict[prefix + _renamed(name, module.use_abs_pos_embed)] = tensor


def _renamed(name: str, with_positions: bool) -> str:
    name = re.sub(r'^pos_embed(\d)$', lambda m: f'layers.{int(m[1]) - 1}.1.0.pos_embed', name)
    name = re.sub(r'^patch_embed(\d)\.', lambda m: f'layers.{int(m[1]) - 1}.0.', name)
    name = re.sub(r'^block(\d)\.(\d+)\.', lambda m: f'layers.{int(m[1]) - 1}.1.{int(m[2]) + with_positions}.', name)
    name = re.sub(r'^norm(\d)\.', lambda m: f'layers.{int(m[1]) - 1}.2.', name)
    last = '3' if with_positions else '4'
    for old, new in (
        ('.0.proj.', '.0.projection.'),
        ('.attn.q.', '.attn.attn.in_proj_'),
        ('.attn.proj.', '.attn.attn.out_proj.'),
        ('.mlp.fc1.', '.ffn.layers.0.'),
        ('.mlp.dwconv.dwconv.', '.ffn.layers.1.'),
        ('.mlp.fc2.', f'.ffn.layers.{last}.'),
    ):
        name = name.replace(old, new)
    return name
