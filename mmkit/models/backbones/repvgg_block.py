"""The block of RepVGG: three branches, or the one convolution that they become."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmkit.layers import BaseModule, build_activation_layer, build_conv_layer, build_norm_layer
from mmkit.layers.fuse import can_fold, folded
from mmkit.models.backbones.se_layer import SELayer
from mmkit.utils.state_dict import load_state_dict

Cfg = Mapping[str, Any]
BN = dict(type='BN')
RELU = dict(type='ReLU')


class RepVGGBlock(BaseModule):
    """The sum of a 3 x 3 convolution, a 1 x 1 convolution and, where shapes allow, the input, each with its norm.

    All three are linear in eval mode, so that one 3 x 3 convolution can take their place.

    Args:
        in_channels, out_channels, stride, dilation, groups: of the convolutions.
        se_cfg: arguments of SELayer (no `channels`), None for none.
        with_cp: recompute in the backward pass instead of keeping activations.
        conv_cfg, norm_cfg, act_cfg: kinds of layer.
        deploy: only the one convolution, for inference.
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
        if deploy:
            self.branch_reparam = self._conv(3, bias=True)
            if type(self.branch_reparam) is not nn.Conv2d:
                raise ValueError(f'RepVGG: with deploy=True convolutions are plain, got conv_cfg={conv_cfg!r}')
        else:
            self.branch_3x3 = self._conv_and_norm(3)
            self.branch_1x1 = self._conv_and_norm(1)
            has_identity = stride == 1 and in_channels == out_channels
            self.branch_norm = build_norm_layer(norm_cfg, in_channels)[1] if has_identity else None
        self.se_layer = nn.Identity() if se_cfg is None else SELayer(out_channels, **se_cfg)
        self.act = build_activation_layer(act_cfg, inplace=True)

    def _conv(self, size: int, bias: bool) -> nn.Module:
        reach = self.dilation * (size // 2)
        return build_conv_layer(
            self.conv_cfg,
            self.in_channels,
            self.out_channels,
            size,
            stride=self.stride,
            padding=reach,
            dilation=max(reach, 1),
            groups=self.groups,
            bias=bias,
        )

    def _conv_and_norm(self, size: int) -> nn.Sequential:
        branch = nn.Sequential()
        branch.add_module('conv', self._conv(size, bias=False))
        branch.add_module('norm', build_norm_layer(self.norm_cfg, self.out_channels)[1])
        return branch

    def _branches(self, x: Tensor) -> Tensor:
        if self.deploy:
            out = self.branch_reparam(x)
        else:
            out = self.branch_3x3(x) + self.branch_1x1(x)
            if self.branch_norm is not None:
                out = out + self.branch_norm(x)
        return self.se_layer(out)

    def forward(self, x: Tensor) -> Tensor:
        if self.with_cp and x.requires_grad:
            return self.act(checkpoint(self._branches, x, use_reentrant=False))
        return self.act(self._branches(x))

    @torch.no_grad()
    def merged(self) -> nn.Conv2d:
        """The one convolution that does in eval mode what the branches do.

        Raises:
            ValueError: for other layers than plain convolutions and batch norms with running statistics.
        """
        pairs = [(self.branch_3x3.conv, self.branch_3x3.norm), (self.branch_1x1.conv, self.branch_1x1.norm)]
        if self.branch_norm is not None:
            unit = nn.Conv2d(self.in_channels, self.out_channels, 1, groups=self.groups, bias=False)
            nn.init.dirac_(unit.weight, self.groups)
            pairs.append((unit.to(self.branch_3x3.conv.weight), self.branch_norm))
        for conv, norm in pairs:
            if not can_fold(conv, norm):
                raise ValueError(
                    'RepVGG: only plain convolutions and batch norms with running statistics become one convolution, '
                    f'got {conv} and {norm}'
                )
        whole, *points = (folded(conv, norm) for conv, norm in pairs)
        for point in points:
            whole.weight[..., 1:2, 1:2] += point.weight
            whole.bias += point.bias
        return whole

    def switch_to_deploy(self) -> None:
        """Put one convolution in the place of the branches; nothing happens if it is there already."""
        if not self.deploy:
            self.branch_reparam = self.merged()
            del self.branch_3x3, self.branch_1x1, self.branch_norm
            self.deploy = True

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        has_branches = f'{prefix}branch_3x3.conv.weight' in state_dict
        if self.deploy and has_branches:
            self._merge_weights(state_dict, prefix)
        elif not self.deploy and not has_branches and f'{prefix}branch_reparam.weight' in state_dict:
            raise ValueError(
                f'RepVGG: the weights of {prefix.rstrip(".") or "the block"} are of the deployed form, whose branches '
                'cannot be told apart any more: build the backbone with deploy=True, or load the checkpoint of training'
            )
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _merge_weights(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Replace the branches of a checkpoint of training by the one convolution."""
        names = [name for name in state_dict if name.startswith(f'{prefix}branch_')]
        block = RepVGGBlock(
            self.in_channels,
            self.out_channels,
            self.stride,
            self.dilation,
            self.groups,
            conv_cfg=self.conv_cfg,
            norm_cfg=self.norm_cfg,
        )
        report = load_state_dict(block, {name.removeprefix(prefix): state_dict.pop(name) for name in names})
        if not report.complete:
            raise ValueError(f'RepVGG: the branches of {prefix.rstrip(".")} are not those of this model: {report}')
        for name, tensor in block.merged().state_dict(prefix=f'{prefix}branch_reparam.').items():
            state_dict[name] = tensor
