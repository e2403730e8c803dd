"""Non-local block."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.layers.conv_module import ConvModule
from mmkit.layers.init import constant_init, normal_init
from mmkit.registry import PLUGIN_LAYERS

MODES = ('gaussian', 'embedded_gaussian', 'dot_product', 'concatenation')


@PLUGIN_LAYERS.register_module()
class NonLocal2d(nn.Module):
    """Every position looks at all positions (arXiv:1711.07971).

    Args:
        in_channels: channels of the map.
        sub_sample: let positions look at a map pooled by 2.
        conv_cfg: kind of the 1 x 1 convolutions.
        reduction: the embedding has in_channels // reduction channels, at least 1.
        use_scale: divide the similarity by the root of the embedding's channels ('embedded_gaussian' only).
        norm_cfg: norm behind the last convolution.
        mode: 'gaussian', 'embedded_gaussian', 'dot_product' or 'concatenation'.
        zeros_init: start as an identity.
    """

    _abbr_ = 'nonlocal_block'

    def __init__(
        self,
        in_channels: int,
        sub_sample: bool = False,
        conv_cfg: Mapping[str, Any] | None = dict(type='Conv2d'),
        reduction: int = 2,
        use_scale: bool = True,
        norm_cfg: Mapping[str, Any] | None = None,
        mode: str = 'embedded_gaussian',
        zeros_init: bool = True,
    ) -> None:
        super().__init__()
        if mode not in MODES:
            raise ValueError(f'NonLocal2d: mode is one of {MODES}, got {mode!r}')
        self.mode, self.use_scale = mode, use_scale
        self.inter_channels = max(in_channels // reduction, 1)

        def embed() -> ConvModule:
            return ConvModule(in_channels, self.inter_channels, 1, conv_cfg=conv_cfg, act_cfg=None)

        self.g: nn.Module = embed()
        self.conv_out = ConvModule(
            self.inter_channels, in_channels, 1, conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=None
        )
        self.theta: nn.Module | None = None
        self.phi: nn.Module | None = None
        if mode != 'gaussian':
            self.theta, self.phi = embed(), embed()
        if mode == 'concatenation':
            self.concat_project = ConvModule(self.inter_channels * 2, 1, 1, bias=False, act_cfg=dict(type='ReLU'))
        self._reset(zeros_init)
        if sub_sample:
            self.g = nn.Sequential(self.g, nn.MaxPool2d(2))
            self.phi = nn.MaxPool2d(2) if self.phi is None else nn.Sequential(self.phi, nn.MaxPool2d(2))

    def _reset(self, zeros_init: bool, std: float = 0.01) -> None:
        for module in (self.g, self.theta, self.phi):
            if module is not None:
                normal_init(module.conv, std=std)
        last = self.conv_out.norm or self.conv_out.conv
        if zeros_init:
            constant_init(last, 0)
        else:
            normal_init(last, std=std)

    def _similarity(self, x: Tensor) -> Tensor:
        """How much each of P positions takes from each of Q, (B, P, Q)."""
        query = (x if self.theta is None else self.theta(x)).flatten(2)  # (B, C, P)
        key = (x if self.phi is None else self.phi(x)).flatten(2)  # (B, C, Q)
        if self.mode == 'concatenation':
            pairs = torch.cat(
                [query[..., None].expand(-1, -1, -1, key.shape[2]), key[:, :, None].expand(-1, -1, query.shape[2], -1)],
                1,
            )
            return self.concat_project(pairs)[:, 0] / key.shape[2]
        product = query.transpose(1, 2) @ key
        if self.mode == 'dot_product':
            return product / key.shape[2]
        if self.mode == 'embedded_gaussian' and self.use_scale:
            product = product / query.shape[1] ** 0.5
        return product.softmax(2)

    def forward(self, x: Tensor) -> Tensor:
        value = self.g(x).flatten(2).transpose(1, 2)  # (B, Q, C)
        taken = (self._similarity(x) @ value).transpose(1, 2)  # (B, C, P)
        return x + self.conv_out(taken.reshape(len(x), self.inter_channels, *x.shape[2:]))
