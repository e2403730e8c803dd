"""Neck of YOLOX."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmkit.layers import BaseModule, ConvModule, DepthwiseSeparableConvModule, InitCfg, LayerCfgs
from mmkit.layers.csp_layer import BN, SWISH, CSPLayer
from mmkit.models.necks.fpn import check_inputs
from mmkit.registry import NECKS, Cfg

DOUBLE = dict(scale_factor=2, mode='nearest')
TORCH_DEFAULT = dict(
    type='Kaiming', layer='Conv2d', a=math.sqrt(5), distribution='uniform', mode='fan_in', nonlinearity='leaky_relu'
)


@NECKS.register_module()
class YOLOXPAFPN(BaseModule):
    """A top-down and a bottom-up path of CSP layers (arXiv:2107.08430).

    Args:
        in_channels: channels of every level of the backbone.
        out_channels: channels of every output.
        num_csp_blocks: blocks of a CSP layer.
        use_depthwise: make the 3 x 3 convolutions depthwise separable.
        upsample_cfg: arguments of nn.Upsample.
        conv_cfg, norm_cfg, act_cfg: kinds of layer.
        init_cfg: initial weights.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_csp_blocks: int = 3,
        use_depthwise: bool = False,
        upsample_cfg: Cfg = DOUBLE,
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg = BN,
        act_cfg: Cfg = SWISH,
        init_cfg: InitCfg = TORCH_DEFAULT,
    ) -> None:
        super().__init__(init_cfg)
        self.in_channels = tuple(in_channels)
        cfgs = LayerCfgs(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        conv = DepthwiseSeparableConvModule if use_depthwise else ConvModule

        def csp(source: int, target: int) -> CSPLayer:
            return CSPLayer(
                source, target, num_blocks=num_csp_blocks, add_identity=False, use_depthwise=use_depthwise, **cfgs
            )

        steps = list(zip(in_channels, in_channels[1:]))
        self.upsample = nn.Upsample(**upsample_cfg)
        self.reduce_layers = nn.ModuleList([ConvModule(coarse, fine, 1, **cfgs) for fine, coarse in reversed(steps)])
        self.top_down_blocks = nn.ModuleList([csp(2 * fine, fine) for fine, _ in reversed(steps)])
        self.downsamples = nn.ModuleList([conv(fine, fine, 3, stride=2, padding=1, **cfgs) for fine, _ in steps])
        self.bottom_up_blocks = nn.ModuleList([csp(2 * fine, coarse) for fine, coarse in steps])
        self.out_convs = nn.ModuleList([ConvModule(source, out_channels, 1, **cfgs) for source in in_channels])

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone levels (B, C_l, H_l, W_l) -> (B, out_channels, H_l, W_l), finest first."""
        check_inputs('YOLOXPAFPN', inputs, self.in_channels)
        current, laterals = inputs[-1], []
        for finer, reduce, block in zip(reversed(inputs[:-1]), self.reduce_layers, self.top_down_blocks, strict=True):
            laterals.append(reduce(current))
            current = block(torch.cat([self.upsample(laterals[-1]), finer], 1))
        outs = [current]
        for lateral, down, block in zip(reversed(laterals), self.downsamples, self.bottom_up_blocks, strict=True):
            outs.append(block(torch.cat([down(outs[-1]), lateral], 1)))
        return tuple(conv(out) for conv, out in zip(self.out_convs, outs, strict=True))
