"""Path aggregation with CSP layers: the necks of YOLOX and RTMDet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from mmkit.layers import BaseModule, ConvModule, DepthwiseSeparableConvModule, InitCfg, LayerCfgs
from mmkit.layers.csp_layer import BN, SWISH, CSPLayer
from mmkit.models.necks.fpn import check_inputs
from mmkit.registry import NECKS, Cfg

DOUBLE = dict(scale_factor=2, mode='nearest')
TORCH_DEFAULT = dict(
    type='Kaiming', layer='Conv2d', a=math.sqrt(5), distribution='uniform', mode='fan_in', nonlinearity='leaky_relu'
)
Layer = Callable[[int, int], nn.Module]
"""From the numbers of channels of its input and its output to a layer."""


class CSPPAFPN(BaseModule):
    """Base of necks with a top-down and a bottom-up path of CSP layers.

    Args:
        in_channels: channels of every level of the backbone.
        out_channels: channels of every output.
        csp: makes a CSP layer.
        downsample: makes a layer that halves height and width.
        output: makes the last layer of a level.
        upsample_cfg: arguments of nn.Upsample.
        init_cfg: initial weights.
        cfgs: kinds of layer.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        csp: Layer,
        downsample: Layer,
        output: Layer,
        upsample_cfg: Cfg,
        init_cfg: InitCfg,
        **cfgs: Unpack[LayerCfgs],
    ) -> None:
        super().__init__(init_cfg)
        self.in_channels = tuple(in_channels)
        steps = list(zip(in_channels, in_channels[1:]))
        self.upsample = nn.Upsample(**upsample_cfg)
        self.reduce_layers = nn.ModuleList([ConvModule(coarse, fine, 1, **cfgs) for fine, coarse in reversed(steps)])
        self.top_down_blocks = nn.ModuleList([csp(2 * fine, fine) for fine, _ in reversed(steps)])
        self.downsamples = nn.ModuleList([downsample(fine, fine) for fine, _ in steps])
        self.bottom_up_blocks = nn.ModuleList([csp(2 * fine, coarse) for fine, coarse in steps])
        self.out_convs = nn.ModuleList([output(source, out_channels) for source in in_channels])

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone levels (B, C_l, H_l, W_l) -> (B, out_channels, H_l, W_l), finest first."""
        check_inputs(type(self).__name__, inputs, self.in_channels)
        current, laterals = inputs[-1], []
        for finer, reduce, block in zip(reversed(inputs[:-1]), self.reduce_layers, self.top_down_blocks, strict=True):
            laterals.append(reduce(current))
            current = block(torch.cat([self.upsample(laterals[-1]), finer], 1))
        outs = [current]
        for lateral, down, block in zip(reversed(laterals), self.downsamples, self.bottom_up_blocks, strict=True):
            outs.append(block(torch.cat([down(outs[-1]), lateral], 1)))
        return tuple(conv(out) for conv, out in zip(self.out_convs, outs, strict=True))


@NECKS.register_module()
class YOLOXPAFPN(CSPPAFPN):
    """The neck of YOLOX: darknet's bottlenecks in the CSP layers (arXiv:2107.08430).

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
        cfgs = LayerCfgs(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        conv = DepthwiseSeparableConvModule if use_depthwise else ConvModule

        def csp(source: int, target: int) -> CSPLayer:
            return CSPLayer(
                source, target, num_blocks=num_csp_blocks, add_identity=False, use_depthwise=use_depthwise, **cfgs
            )

        super().__init__(
            in_channels,
            out_channels,
            csp=csp,
            downsample=lambda source, target: conv(source, target, 3, stride=2, padding=1, **cfgs),
            output=lambda source, target: ConvModule(source, target, 1, **cfgs),
            upsample_cfg=upsample_cfg,
            init_cfg=init_cfg,
            **cfgs,
        )


@NECKS.register_module()
class CSPNeXtPAFPN(CSPPAFPN):
    """The neck of RTMDet: CSPNeXt's blocks in the CSP layers, 3 x 3 convolutions at the end (arXiv:2212.07784).

    Args:
        expand_ratio: channels of each half of a CSP layer, as a fraction of its outputs.

    Others as in `YOLOXPAFPN`.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_csp_blocks: int = 3,
        use_depthwise: bool = False,
        expand_ratio: float = 0.5,
        upsample_cfg: Cfg = DOUBLE,
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg = BN,
        act_cfg: Cfg = SWISH,
        init_cfg: InitCfg = TORCH_DEFAULT,
    ) -> None:
        cfgs = LayerCfgs(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        conv = DepthwiseSeparableConvModule if use_depthwise else ConvModule

        def csp(source: int, target: int) -> CSPLayer:
            return CSPLayer(
                source,
                target,
                expand_ratio=expand_ratio,
                num_blocks=num_csp_blocks,
                add_identity=False,
                use_depthwise=use_depthwise,
                use_cspnext_block=True,
                **cfgs,
            )

        super().__init__(
            in_channels,
            out_channels,
            csp=csp,
            downsample=lambda source, target: conv(source, target, 3, stride=2, padding=1, **cfgs),
            output=lambda source, target: conv(source, target, 3, padding=1, **cfgs),
            upsample_cfg=upsample_cfg,
            init_cfg=init_cfg,
            **cfgs,
        )
