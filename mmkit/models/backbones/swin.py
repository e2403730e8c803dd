"""Swin Transformer (arXiv:2103.14030)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Self

from mmkit.errors import InvalidValueError
from mmkit.layers import FFN, BaseModule, InitCfg, build_norm_layer, freeze
from mmkit.models.backbones.init_cfg import resolve_init_cfg
from mmkit.models.backbones.patch_embed import GELU, TRUNCATED_NORMAL, PatchEmbed, Size, to_map, to_tokens
from mmkit.models.backbones.swin_block import PatchMerging, ShiftWindowMSA, SwinBlock, SwinStage, WindowMSA
from mmkit.registry import BACKBONES, Cfg

LAYER_NORM = dict(type='LN')


@BACKBONES.register_module()
class SwinTransformer(BaseModule):
    """Stages of windowed attention at strides 4, 8, 16, 32.

    Args:
        pretrain_img_size: image size of the absolute position embedding.
        in_channels: channels of the image.
        embed_dims: channels of the first stage; each next one has twice as many.
        patch_size: of the patch embedding, in pixels.
        window_size: of the attention, in cells.
        mlp_ratio: hidden channels of the feed-forward networks / channels.
        depths, num_heads: blocks and attention heads of each stage.
        strides: of the patch embedding and of the mergings after the first stages.
        out_indices: stages whose output is returned, from 0.
        qkv_bias: bias of the projections to queries, keys and values.
        qk_scale: factor of the attention logits, None for (channels per head) ** -0.5.
        patch_norm: norm after the patch embedding.
        drop_rate, attn_drop_rate: dropout of outputs and of attention weights.
        drop_path_rate: of the last block; it rises linearly from 0.
        use_abs_pos_embed: learned absolute positions after the patch embedding.
        act_cfg, norm_cfg: kinds of layer.
        with_cp: recompute activations in the backward pass instead of keeping them.
        pretrained: deprecated, use init_cfg.
        convert_weights: accept checkpoints with the authors' own names.
        frozen_stages: the embedding (0) and the stages up to this one are not trained; -1 for none.
        init_cfg: initial weights.
    """

    def __init__(
        self,
        pretrain_img_size: int | Sequence[int] = 224,
        in_channels: int = 3,
        embed_dims: int = 96,
        patch_size: int = 4,
        window_size: int = 7,
        mlp_ratio: float = 4,
        depths: Sequence[int] = (2, 2, 6, 2),
        num_heads: Sequence[int] = (3, 6, 12, 24),
        strides: Sequence[int] = (4, 2, 2, 2),
        out_indices: Sequence[int] = (0, 1, 2, 3),
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        patch_norm: bool = True,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.1,
        use_abs_pos_embed: bool = False,
        act_cfg: Cfg = GELU,
        norm_cfg: Cfg = LAYER_NORM,
        with_cp: bool = False,
        pretrained: str | None = None,
        convert_weights: bool = False,
        frozen_stages: int = -1,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(resolve_init_cfg(pretrained, init_cfg, TRUNCATED_NORMAL))
        if strides[0] != patch_size:
            raise InvalidValueError(
                f'patches do not overlap: strides[0] must be patch_size {patch_size}, got {strides[0]}', key='strides'
            )
        if frozen_stages not in range(-1, len(depths) + 1):
            raise InvalidValueError(
                f'frozen_stages is from -1 to {len(depths)}, got {frozen_stages!r}', key='frozen_stages'
            )
        self.out_indices, self.frozen_stages, self.convert_weights = tuple(out_indices), frozen_stages, convert_weights
        self.patch_embed = PatchEmbed(
            in_channels, embed_dims, patch_size, stride=strides[0], norm_cfg=norm_cfg if patch_norm else None
        )
        sides = [pretrain_img_size] * 2 if isinstance(pretrain_img_size, int) else pretrain_img_size
        self.pos_grid = (sides[0] // patch_size, sides[1] // patch_size)
        self.absolute_pos_embed: nn.Parameter | None = None
        if use_abs_pos_embed:
            self.absolute_pos_embed = nn.Parameter(torch.zeros(1, self.pos_grid[0] * self.pos_grid[1], embed_dims))
            nn.init.trunc_normal_(self.absolute_pos_embed, std=0.02)
        self.drop_after_pos = nn.Dropout(drop_rate)
        rates = iter(torch.linspace(0, drop_path_rate, sum(depths), device='cpu').tolist())
        self.stages = nn.ModuleList()
        for stage, depth in enumerate(depths):
            dims = embed_dims * 2**stage
            blocks = []
            for index in range(depth):
                drop_path = next(rates)
                w_msa = WindowMSA(
                    dims,
                    num_heads[stage],
                    window_size,
                    qkv_bias=qkv_bias,
                    qk_scale=qk_scale,
                    attn_drop=attn_drop_rate,
                    proj_drop=drop_rate,
                )
                ffn = FFN(
                    dims,
                    int(mlp_ratio * dims),
                    act_cfg=act_cfg,
                    ffn_drop=drop_rate,
                    dropout_layer=dict(type='DropPath', drop_prob=drop_path),
                )
                attn = ShiftWindowMSA(w_msa, window_size // 2 if index % 2 else 0, drop_path)
                blocks.append(SwinBlock(dims, attn, ffn, norm_cfg=norm_cfg, with_cp=with_cp))
            last = stage == len(depths) - 1
            merging = None if last else PatchMerging(dims, dims * 2, strides[stage + 1], norm_cfg)
            self.stages.append(SwinStage(blocks, merging))
            if stage in self.out_indices:
                self.add_module(f'norm{stage}', build_norm_layer(norm_cfg, dims)[1])
        self._freeze_stages()

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self._freeze_stages()
        return self

    def _freeze_stages(self) -> None:
        if self.frozen_stages >= 0:
            freeze(self.patch_embed)
            if self.absolute_pos_embed is not None:
                self.absolute_pos_embed.requires_grad = False
            self.drop_after_pos.eval()
        for stage in range(self.frozen_stages):
            freeze(self.stages[stage])
            if stage in self.out_indices:
                freeze(self.get_submodule(f'norm{stage}'))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (B, C, H, W) -> the outputs of `out_indices`, (B, C_i, H / 4, W / 4) and so on."""
        x, size = self.patch_embed(x)
        if self.absolute_pos_embed is not None:
            x = x + self._positions(self.absolute_pos_embed, size)
        x = self.drop_after_pos(x)
        outs = []
        for index, stage in enumerate(self.stages):
            out_size = size
            out, x, size = stage(x, size)
            if index in self.out_indices:
                outs.append(to_map(self.get_submodule(f'norm{index}')(out), out_size).contiguous())
        return tuple(outs)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        if self.convert_weights:
            _from_authors(state_dict, prefix)
        _fit_bias_tables(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _positions(self, table: Tensor, size: Size) -> Tensor:
        """Absolute positions of all cells, (1, h*w, C), interpolated from the table's size to `size`."""
        if size == self.pos_grid:
            return table
        return to_tokens(F.interpolate(to_map(table, self.pos_grid), size=size, mode='bicubic'))


_NAMES = (
    ('layers.', 'stages.'),
    ('patch_embed.proj.', 'patch_embed.projection.'),
    ('.attn.', '.attn.w_msa.'),
    ('.mlp.fc1.', '.ffn.layers.0.0.'),
    ('.mlp.fc2.', '.ffn.layers.1.'),
)


def _from_authors(state_dict: dict[str, Tensor], prefix: str) -> None:
    """Rename the authors' tensors in place; a state dict with our names stays as it is.

    Their merging stacks the four tokens in another order: (0,0) (1,0) (0,1) (1,1), tokens before channels.
    """
    if not any(name.startswith(f'{prefix}layers.') for name in state_dict):
        return
    for name in [name for name in state_dict if name.startswith(prefix)]:
        tensor, new = state_dict.pop(name), name[len(prefix) :]
        if new.startswith(('head.', 'norm.')) or 'attn_mask' in new:
            continue
        if '.downsample.' in new:
            shape = tensor.shape
            tensor = tensor.view(*shape[:-1], 4, shape[-1] // 4)[..., [0, 2, 1, 3], :].transpose(-1, -2).reshape(shape)
        for old, ours in _NAMES:
            new = new.replace(old, ours)
        state_dict[prefix + new] = tensor


def _fit_bias_tables(module: nn.Module, state_dict: dict[str, Tensor], prefix: str) -> None:
    """Interpolate bias tables of another window size to this one's, bicubically and in place."""
    own = dict(module.named_parameters())
    for name in [name for name in state_dict if name.endswith('relative_position_bias_table')]:
        table, mine = state_dict[name], own.get(name[len(prefix) :])
        if mine is None or table.shape == mine.shape or table.shape[1] != mine.shape[1]:
            continue
        old, new = round(len(table) ** 0.5), round(len(mine) ** 0.5)
        square = table.T.reshape(1, -1, old, old)
        state_dict[name] = F.interpolate(square, size=(new, new), mode='bicubic').flatten(2)[0].T
        state_dict.pop(name.replace('bias_table', 'index'), None)
