"""Stacks of convolutions between the pyramid and the predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor, nn

from mmkit.layers import ConvModule, DepthwiseSeparableConvModule
from mmkit.layers.conv_module import RELU
from mmkit.registry import Cfg


def conv_tower(
    in_channels: int,
    channels: int,
    num_convs: int,
    conv_cfg: Cfg | None = None,
    norm_cfg: Cfg | None = None,
    bias: bool | str = 'auto',
    last_conv_cfg: Cfg | None = None,
    act_cfg: Cfg | None = RELU,
    use_depthwise: bool = False,
) -> nn.ModuleList:
    """`num_convs` 3x3 convolutions with `channels` each; `last_conv_cfg`: the kind of the last one, if it differs."""
    block = DepthwiseSeparableConvModule if use_depthwise else ConvModule
    widths = [in_channels, *[channels] * num_convs]
    kinds = [conv_cfg] * num_convs
    if last_conv_cfg is not None and kinds:
        kinds[-1] = last_conv_cfg
    return nn.ModuleList(
        block(a, b, 3, padding=1, conv_cfg=kind, norm_cfg=norm_cfg, act_cfg=act_cfg, bias=bias)
        for a, b, kind in zip(widths[:-1], widths[1:], kinds, strict=True)
    )


def level_towers(tower: Callable[[], nn.ModuleList], num_levels: int, share_conv: bool = True) -> nn.ModuleList:
    """A tower for each level, with norm layers of its own; all have the convolutions of the first if `share_conv`."""
    towers = [tower() for _ in range(num_levels)]
    for other in towers[1:] if share_conv else []:
        for own, shared in zip(other.modules(), towers[0].modules(), strict=True):
            if isinstance(own, ConvModule) and isinstance(shared, ConvModule):
                own.conv = shared.conv
    return nn.ModuleList(towers)


def apply_convs(convs: Iterable[nn.Module], feat: Tensor) -> Tensor:
    """Apply the modules of a tower one after the other."""
    for conv in convs:
        feat = conv(feat)
    return feat
