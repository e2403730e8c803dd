"""CSPDarknet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from mmkit.layers import ConvModule, InitCfg, LayerCfgs
from mmkit.layers.csp_layer import BN, SWISH
from mmkit.models.backbones.csp_backbone import TORCH_DEFAULT, CSPBackbone, build_stages, chosen_stages, usual_stages
from mmkit.registry import BACKBONES, Cfg


class Focus(nn.Module):
    """Space to depth: the pixels of 2 x 2 blocks become channels, followed by a convolution.

    Args:
        in_channels: channels of the input, before the rearrangement.
        out_channels, kernel_size: of the convolution.
        cfgs: kinds of layer.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, **cfgs: Unpack[LayerCfgs]) -> None:
        super().__init__()
        self.conv = ConvModule(in_channels * 4, out_channels, kernel_size, padding=(kernel_size - 1) // 2, **cfgs)

    def forward(self, x: Tensor) -> Tensor:
        quarters = [x[..., row::2, column::2] for column in (0, 1) for row in (0, 1)]
        x = self.conv(torch.cat(quarters, 1))
        return x


@BACKBONES.register_module()
class CSPDarknet(CSPBackbone):
    """The backbone of YOLOv5 and YOLOX (arXiv:2107.08430).

    Args:
        arch: 'P5' or 'P6'.
        deepen_factor, widen_factor: factors of the numbers of blocks and of channels.
        use_depthwise: make the 3 x 3 convolutions depthwise separable.
        arch_ovewrite: instead of `arch`, the `Stage`s; spelt as in mmdetection.
        spp_kernal_sizes: windows of the pooling in the last stage; spelt as in mmdetection.
        conv_cfg, norm_cfg, act_cfg: kinds of layer.
        out_indices, frozen_stages, norm_eval, init_cfg: see `CSPBackbone`.
    """

    arch_settings = usual_stages(num_blocks=9)

    def __init__(
        self,
        arch: str = 'P5',
        deepen_factor: float = 1.0,
        widen_factor: float = 1.0,
        out_indices: Sequence[int] = (2, 3, 4),
        frozen_stages: int = -1,
        use_depthwise: bool = False,
        arch_ovewrite: Sequence[Sequence[Any]] | None = None,
        spp_kernal_sizes: Sequence[int] = (5, 9, 13),
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg = BN,
        act_cfg: Cfg = SWISH,
        norm_eval: bool = False,
        init_cfg: InitCfg = TORCH_DEFAULT,
    ) -> None:
        settings = chosen_stages(self.arch_settings, arch, arch_ovewrite, 'CSPDarknet')
        cfgs = LayerCfgs(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        stem = Focus(3, int(settings[0][0] * widen_factor), 3, **cfgs)
        stages = build_stages(
            settings,
            deepen_factor=deepen_factor,
            widen_factor=widen_factor,
            use_depthwise=use_depthwise,
            spp_kernel_sizes=spp_kernal_sizes,
            csp_cfg=dict(),
            **cfgs,
        )
        super().__init__(stem, stages, out_indices, frozen_stages=frozen_stages, norm_eval=norm_eval, init_cfg=init_cfg)
