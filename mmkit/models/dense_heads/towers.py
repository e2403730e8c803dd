"""Stacks of convolutions between the pyramid and the predictions."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from mmkit.layers import ConvModule
from mmkit.registry import Cfg


def conv_tower(
    in_channels: int,
    channels: int,
    num_convs: int,
    conv_cfg: Cfg | None = None,
    norm_cfg: Cfg | None = None,
    bias: bool | str = 'auto',
    last_conv_cfg: Cfg | None = None,
) -> nn.ModuleList:
    """`num_convs` 3x3 convolutions with `channels` each; `last_conv_cfg`: the kind of the last one, if it differs."""
    widths = [in_channels, *[channels] * num_convs]
    kinds = [conv_cfg] * num_convs
    if last_conv_cfg is not None and kinds:
        kinds[-1] = last_conv_cfg
    return nn.ModuleList(
        ConvModule(a, b, 3, padding=1, conv_cfg=kind, norm_cfg=norm_cfg, bias=bias)
        for a, b, kind in zip(widths[:-1], widths[1:], kinds, strict=True)
    )


def apply_convs(convs: Iterable[nn.Module], feat: Tensor) -> Tensor:
    """Apply the modules of a tower one after the other."""
    for conv in convs:
        feat = conv(feat)
    return feat
