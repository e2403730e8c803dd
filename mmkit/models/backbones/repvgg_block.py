"""The block of RepVGG: three branches, or the one convolution that is equal to them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmkit.errors import InvalidValueError
from mmkit.layers import BaseModule, build_activation_layer, build_conv_layer, build_norm_layer
from mmkit.layers.fuse import can_fold, folded
from mmkit.models.backbones.se_layer import SELayer
from mmkit.registry import Cfg
from mmkit.utils.state_dict import load_state_dict

BN = dict(type='BN')
RELU = dict(type='ReLU')


class ConvNorm(nn.Sequential):
    """A convolution and its norm."""

    def __init__(self, conv: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.conv, self.norm = conv, norm


class RepVGGBlock(BaseModule):
    """The sum of a 3 x 3 convolution, a 1 x 1 convolution and, where shapes allow, the input, each with its norm.

    All three are linear in eval mode, so that one 3 x 3 convolution can replace them.

    Args:
        in_channels, out_channels, stride, dilation, groups: of the convolutions.
        se_cfg: arguments of SELayer (no `channels`), None for none.
        with_cp: recompute activations in the backward pass instead of keeping them.
        conv_cfg, norm_cfg, act_cfg: kinds of layer.
        deploy: build only the one convolution, for inference.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        se_cfg: Cfg | None = None,
        with_cp: bool = False,
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg = BN,
        act_cfg: Cfg = RELU,
        deploy: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.stride, self.dilation, self.groups = stride, dilation, groups
        self.conv_cfg, self.norm_cfg = conv_cfg, norm_cfg
        self.with_cp, self.deploy = with_cp, deploy
        self.branch_reparam: nn.Module | None = None
        self.branch_3x3: ConvNorm | None = None
        self.branch_1x1: ConvNorm | None = None
        self.branch_norm: nn.Module | None = None
        if deploy:
            self.branch_reparam = self._conv(3, bias=True)
            if type(self.branch_reparam) is not nn.Conv2d:
                raise InvalidValueError(
                    f'with deploy=True convolutions are plain, got conv_cfg={conv_cfg!r}', key='conv_cfg'
                )
        else:
            self.branch_3x3 = self._conv_and_norm(3)
            self.branch_1x1 = self._conv_and_norm(1)
            if stride == 1 and in_channels == out_channels:
                self.branch_norm = build_norm_layer(norm_cfg, in_channels)[1]
        self.se_layer = nn.Identity() if se_cfg is None else SELayer(out_channels, **se_cfg)
        self.act = build_activation_layer(act_cfg, inplace=True)

    def _conv(self, size: int, bias: bool) -> nn.Module:
        padding = self.dilation * (size // 2)
        return build_conv_layer(
            self.conv_cfg,
            self.in_channels,
            self.out_channels,
            size,
            stride=self.stride,
            padding=padding,
            dilation=max(padding, 1),
            groups=self.groups,
            bias=bias,
        )

    def _conv_and_norm(self, size: int) -> ConvNorm:
        return ConvNorm(self._conv(size, bias=False), build_norm_layer(self.norm_cfg, self.out_channels)[1])

    def _branches(self, x: Tensor) -> Tensor:
        branches = (self.branch_reparam, self.branch_3x3, self.branch_1x1, self.branch_norm)
        out, *others = (branch(x) for branch in branches if branch is not None)
        for other in others:
            out = out + other
        x = self.se_layer(out)
        return x

    def forward(self, x: Tensor) -> Tensor:
        if self.with_cp and x.requires_grad:
            x = checkpoint(self._branches, x, use_reentrant=False)
        else:
            x = self._branches(x)
        x = self.act(x)
        return x

    @torch.no_grad()
    def merged(self) -> nn.Conv2d:
        """The convolution that equals the branches in eval mode.

        Raises:
            InvalidValueError: for other layers than plain convolutions and batch norms with running statistics.
        """
        pairs = [(branch.conv, branch.norm) for branch in (self.branch_3x3, self.branch_1x1) if branch is not None]
        if self.branch_norm is not None:
            unit = nn.Conv2d(self.in_channels, self.out_channels, 1, groups=self.groups, bias=False)
            nn.init.dirac_(unit.weight, self.groups)
            weight = next(pairs[0][0].parameters())
            pairs.append((unit.to(device=weight.device, dtype=weight.dtype), self.branch_norm))
        merged = [folded(conv, norm) for conv, norm in pairs if isinstance(conv, nn.Conv2d) and can_fold(conv, norm)]
        if len(merged) < len(pairs):
            raise InvalidValueError(
                'RepVGG: only plain convolutions and batch norms with running statistics become one convolution, '
                f'got {pairs}'
            )
        whole, *points = merged
        for point in points:
            whole.weight[..., 1:2, 1:2] += point.weight
            if whole.bias is not None and point.bias is not None:  # always: batch norms shift
                whole.bias += point.bias
        return whole

    def switch_to_deploy(self) -> None:
        """Replace the branches by one convolution; a second call changes nothing."""
        if not self.deploy:
            self.branch_reparam = self.merged()
            self.branch_3x3 = self.branch_1x1 = self.branch_norm = None
            self.deploy = True

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        has_branches = f'{prefix}branch_3x3.conv.weight' in state_dict
        if self.deploy and has_branches:
            self._merge_weights(state_dict, prefix)
        elif not self.deploy and not has_branches and f'{prefix}branch_reparam.weight' in state_dict:
            raise InvalidValueError(
                f'RepVGG: the weights of {prefix.rstrip(".") or "the block"} are of the deployed form, whose branches '
                'cannot be separated any more: build the backbone with deploy=True, or load the checkpoint of training'
            )
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _merge_weights(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Replace the branches in a checkpoint of training by the one convolution."""
        names = [name for name in state_dict if name.startswith(f'{prefix}branch_')]
        block = RepVGGBlock(
            self.in_channels,
            self.out_channels,
            stride=self.stride,
            dilation=self.dilation,
            groups=self.groups,
            conv_cfg=self.conv_cfg,
            norm_cfg=self.norm_cfg,
        )
        report = load_state_dict(block, {name.removeprefix(prefix): state_dict.pop(name) for name in names})
        if not report.complete:
            raise InvalidValueError(
                f'RepVGG: the branches of {prefix.rstrip(".")} are not those of this model: {report}'
            )
        state_dict.update(block.merged().state_dict(prefix=f'{prefix}branch_reparam.'))
