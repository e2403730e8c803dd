"""Folding of batch norms into the convolutions before them, for inference."""

from __future__ import annotations

from itertools import pairwise
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrize import is_parametrized

from mmkit.layers.conv import as_size
from mmkit.layers.conv_module import ConvModule
from mmkit.layers.norm import SyncBN


@runtime_checkable
class Deployable(Protocol):
    """A module with a form for inference, such as RepVGG, whose branches become one convolution."""

    def switch_to_deploy(self) -> None: ...


def fuse_conv_bn(model: nn.Module) -> int:
    """Fold every batch norm that directly follows a plain convolution, in place; the model must not be trained after.

    A pair is two neighbours in the order in which a module registered them, as convolution and norm of residual blocks
    are, or those of a `ConvModule`. Modules with a `switch_to_deploy` switch first. Convolutions that compute their
    weights (weight standardisation, deformable ones) stay, and so do norms that do more than normalise.

    Returns:
        The number of batch norms removed, those of branches included.
    """
    before = _num_norms(model)
    for module in list(model.modules()):
        if isinstance(module, Deployable):
            module.switch_to_deploy()
    for module in model.modules():
        _fuse_children(module)
    return before - _num_norms(model)


def can_fold(conv: nn.Module, norm: nn.Module) -> bool:
    """True for a plain convolution and a batch norm with running statistics, which `folded` merges."""
    return (
        type(conv) is nn.Conv2d
        and not conv._forward_pre_hooks
        and not is_parametrized(conv)
        and isinstance(norm, _BatchNorm)
        and type(norm).forward in (_BatchNorm.forward, nn.SyncBatchNorm.forward, SyncBN.forward)
        and norm.num_features == conv.out_channels
        and norm.running_mean is not None
    )


@torch.no_grad()
def folded(conv: nn.Conv2d, norm: nn.Module) -> nn.Conv2d:
    """One convolution equal to `conv` followed by `norm` in eval mode; `can_fold` must hold."""
    assert isinstance(norm, _BatchNorm) and norm.running_mean is not None and norm.running_var is not None
    scale = (norm.running_var + norm.eps).rsqrt()  # (C,)
    if norm.weight is not None:
        scale = scale * norm.weight
    shift = -norm.running_mean * scale
    if norm.bias is not None:
        shift = shift + norm.bias
    if conv.bias is not None:
        shift = shift + conv.bias * scale
    result = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        as_size(conv.kernel_size),
        stride=as_size(conv.stride),
        padding=conv.padding if isinstance(conv.padding, str) else as_size(conv.padding),
        dilation=as_size(conv.dilation),
        groups=conv.groups,
        bias=True,
        padding_mode=conv.padding_mode,
        device=conv.weight.device,
        dtype=conv.weight.dtype,
    )
    result.weight.copy_(conv.weight * scale[:, None, None, None])
    assert isinstance(result.bias, Tensor)
    result.bias.copy_(shift)
    return result


def _num_norms(model: nn.Module) -> int:
    return sum(isinstance(module, _BatchNorm) for module in model.modules())


def _fuse_children(module: nn.Module) -> None:
    if isinstance(module, ConvModule) and module.order[:2] != ('conv', 'norm') and module.order[1:] != ('conv', 'norm'):
        return
    pairs = [
        (conv_name, conv, norm_name, norm)
        for (conv_name, conv), (norm_name, norm) in pairwise(module.named_children())
        if can_fold(conv, norm)
    ]
    for conv_name, conv, norm_name, norm in pairs:
        # A new convolution: the old one may be shared with another norm, as in heads with one norm per level.
        assert isinstance(conv, nn.Conv2d)
        setattr(module, conv_name, folded(conv, norm))
        setattr(module, norm_name, nn.Identity())
