"""CSPNeXt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmkit.layers import ConvModule, InitCfg, LayerCfgs, Sequential
from mmkit.layers.csp_layer import BN, SILU
from mmkit.models.backbones.csp_backbone import TORCH_DEFAULT, CSPBackbone, build_stages, chosen_stages, usual_stages
from mmkit.registry import BACKBONES, Cfg


@BACKBONES.register_module()
class CSPNeXt(CSPBackbone):
    """The backbone of RTMDet: CSP layers of blocks with large depthwise kernels (arXiv:2212.07784).

    Args:
        arch: 'P5' or 'P6'.
        deepen_factor, widen_factor: factors of the numbers of blocks and of channels.
        use_depthwise: make all 3 x 3 convolutions but those of the stem depthwise separable.
        expand_ratio: channels of each half of a CSP layer, as a fraction of the stage's.
        arch_ovewrite: instead of `arch`, the `Stage`s; spelt as in mmdetection.
        spp_kernel_sizes: windows of the pooling in the last stage.
        channel_attention: gate the channels at the end of each stage.
        conv_cfg, norm_cfg, act_cfg: kinds of layer.
        out_indices, frozen_stages, norm_eval, init_cfg: see `CSPBackbone`.
    """

    arch_settings = usual_stages(num_blocks=6)

    def __init__(
        self,
        arch: str = 'P5',
        deepen_factor: float = 1.0,
        widen_factor: float = 1.0,
        *,
        out_indices: Sequence[int] = (2, 3, 4),
        frozen_stages: int = -1,
        use_depthwise: bool = False,
        expand_ratio: float = 0.5,
        arch_ovewrite: Sequence[Sequence[Any]] | None = None,
        spp_kernel_sizes: Sequence[int] = (5, 9, 13),
        channel_attention: bool = True,
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg = BN,
        act_cfg: Cfg = SILU,
        norm_eval: bool = False,
        init_cfg: InitCfg = TORCH_DEFAULT,
    ) -> None:
        settings = chosen_stages(self.arch_settings, arch, arch_ovewrite, 'CSPNeXt')
        cfgs = LayerCfgs(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        width = int(settings[0][0] * widen_factor)
        half = int(settings[0][0] * widen_factor // 2)
        stem = Sequential(
            ConvModule(3, half, 3, stride=2, padding=1, **cfgs),
            ConvModule(half, half, 3, padding=1, **cfgs),
            ConvModule(half, width, 3, padding=1, **cfgs),
        )
        stages = build_stages(
            settings,
            deepen_factor=deepen_factor,
            widen_factor=widen_factor,
            use_depthwise=use_depthwise,
            spp_kernel_sizes=spp_kernel_sizes,
            csp_cfg=dict(expand_ratio=expand_ratio, use_cspnext_block=True, channel_attention=channel_attention),
            **cfgs,
        )
        super().__init__(stem, stages, out_indices, frozen_stages=frozen_stages, norm_eval=norm_eval, init_cfg=init_cfg)
