"""Convolution, normalisation and activation as one block."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm
from typing_extensions import TypedDict, Unpack

from mmkit.errors import InvalidValueError
from mmkit.layers.activation import build_activation_layer
from mmkit.layers.base_module import SelfInitialising
from mmkit.layers.conv import ConvOptions, as_size, build_conv_layer, build_padding_layer
from mmkit.layers.deform_conv import adopt_older_offsets
from mmkit.layers.init import constant_init, kaiming_init
from mmkit.layers.norm import build_norm_layer
from mmkit.ops import Size, pair
from mmkit.registry import PLUGIN_LAYERS, Cfg

RELU = dict(type='ReLU')
STEPS = {'conv', 'norm', 'act'}


class LayerCfgs(TypedDict, total=False):
    """Kinds of convolution, norm and activation, as a block passes them on to its `ConvModule`s."""

    conv_cfg: Cfg | None
    norm_cfg: Cfg | None
    act_cfg: Cfg | None


class ConvModuleOptions(TypedDict, total=False):
    """Keyword arguments that the two convolutions of a `DepthwiseSeparableConvModule` share."""

    bias: bool | str
    conv_cfg: Cfg | None
    inplace: bool
    with_spectral_norm: bool
    padding_mode: str
    order: Sequence[str]


@PLUGIN_LAYERS.register_module()
class ConvModule(nn.Module):
    """A convolution with an optional norm layer and an optional activation.

    Submodules have mmcv's names: `conv`, the norm by its kind (`bn`, `gn`, `ln`, `in`), `activate`.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups: of the convolution.
        bias: True, False, or 'auto': only without a norm layer.
        conv_cfg: kind of convolution, None is Conv2d.
        norm_cfg: kind of norm layer, None for none.
        act_cfg: kind of activation, None for none.
        inplace: let the activation overwrite its input.
        with_spectral_norm: divide the weights by their largest singular value.
        padding_mode: 'zeros' and 'circular' are the convolution's, 'reflect' and 'replicate' a layer before it.
        order: the order of 'conv', 'norm' and 'act'.
    """

    _abbr_ = 'conv_block'

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool | str = 'auto',
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg | None = None,
        act_cfg: Cfg | None = RELU,
        inplace: bool = True,
        with_spectral_norm: bool = False,
        padding_mode: str = 'zeros',
        order: Sequence[str] = ('conv', 'norm', 'act'),
    ) -> None:
        super().__init__()
        if len(order) != 3 or set(order) != STEPS:
            raise InvalidValueError(f"order has each of 'conv', 'norm', 'act' once, got {order!r}", key='order')
        if bias not in (True, False, 'auto'):
            raise InvalidValueError(f"bias is True, False or 'auto', got {bias!r}", key='bias')
        self.order = tuple(order)
        self.with_norm, self.with_activation = norm_cfg is not None, act_cfg is not None
        self.with_bias = not self.with_norm if bias == 'auto' else bool(bias)
        self.with_spectral_norm = with_spectral_norm
        self.act_cfg = act_cfg

        options = ConvOptions(
            stride=as_size(stride),
            padding=as_size(padding),
            dilation=as_size(dilation),
            groups=groups,
            bias=self.with_bias,
        )
        self.padding_layer: nn.Module | None = None
        if padding_mode == 'circular':
            options['padding_mode'] = 'circular'
        elif padding_mode != 'zeros':
            vertical, horizontal = pair(padding, 'padding')
            self.padding_layer = build_padding_layer(
                dict(type=padding_mode), (horizontal, horizontal, vertical, vertical)
            )
            options['padding'] = 0
        conv: Any = build_conv_layer(conv_cfg, in_channels, out_channels, as_size(kernel_size), **options)
        self.conv = conv
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride, self.padding = conv.kernel_size, conv.stride, padding
        self.dilation, self.groups = conv.dilation, conv.groups

        self.norm_name: str | None = None
        if norm_cfg is not None:
            after = self.order.index('norm') > self.order.index('conv')
            self.norm_name, norm = build_norm_layer(norm_cfg, out_channels if after else in_channels)
            self.add_module(self.norm_name, norm)
            if self.with_bias and isinstance(norm, (_BatchNorm, _InstanceNorm)):
                warnings.warn('a bias before batch or instance norm has no effect', stacklevel=2)
        self.activate: nn.Module | None = None
        if act_cfg is not None:
            self.activate = build_activation_layer(act_cfg, inplace=inplace)
        self._reset()
        if with_spectral_norm:
            self.conv = nn.utils.spectral_norm(self.conv)

    @property
    def norm(self) -> nn.Module | None:
        """The norm layer, if there is one."""
        return self.get_submodule(self.norm_name) if self.norm_name else None

    def _reset(self) -> None:
        if not isinstance(self.conv, SelfInitialising):
            if self.act_cfg is not None and self.act_cfg['type'] == 'LeakyReLU':
                kaiming_init(self.conv, a=self.act_cfg.get('negative_slope', 0.01), nonlinearity='leaky_relu')
            else:
                kaiming_init(self.conv)
        if self.norm is not None:
            constant_init(self.norm, 1)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        adopt_older_offsets(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def forward(self, x: Tensor, activate: bool = True, norm: bool = True) -> Tensor:
        """Apply the steps in order; `activate` and `norm` can leave theirs out."""
        for step in self.order:
            if step == 'conv':
                x = self.conv(x if self.padding_layer is None else self.padding_layer(x))
            elif step == 'norm' and norm and self.norm is not None:
                x = self.norm(x)
            elif step == 'act' and activate and self.activate is not None:
                x = self.activate(x)
        return x


class DepthwiseSeparableConvModule(nn.Module):
    """A depthwise, then a pointwise convolution (arXiv:1704.04861).

    Args: those of ConvModule (`groups` is fixed), and
        dw_norm_cfg, dw_act_cfg: of the depthwise part; 'default' takes `norm_cfg`, `act_cfg`.
        pw_norm_cfg, pw_act_cfg: of the pointwise part.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        norm_cfg: Cfg | None = None,
        act_cfg: Cfg | None = RELU,
        dw_norm_cfg: Cfg | str | None = 'default',
        dw_act_cfg: Cfg | str | None = 'default',
        pw_norm_cfg: Cfg | str | None = 'default',
        pw_act_cfg: Cfg | str | None = 'default',
        **options: Unpack[ConvModuleOptions],
    ) -> None:
        super().__init__()

        def chosen(own: Cfg | str | None, default: Cfg | None) -> Cfg | None:
            return default if isinstance(own, str) else own

        self.depthwise_conv = ConvModule(
            in_channels,
            in_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=in_channels,
            norm_cfg=chosen(dw_norm_cfg, norm_cfg),
            act_cfg=chosen(dw_act_cfg, act_cfg),
            **options,
        )
        self.pointwise_conv = ConvModule(
            in_channels,
            out_channels,
            1,
            norm_cfg=chosen(pw_norm_cfg, norm_cfg),
            act_cfg=chosen(pw_act_cfg, act_cfg),
            **options,
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.pointwise_conv(self.depthwise_conv(x))
        return x
