"""MobileNetV2."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.utils.checkpoint import checkpoint
from typing_extensions import Self, Unpack

from mmkit.errors import InvalidValueError
from mmkit.layers import BaseModule, ConvModule, InitCfg, LayerCfgs, Sequential, freeze, freeze_batch_norm
from mmkit.models.backbones.init_cfg import resolve_init_cfg
from mmkit.registry import BACKBONES, Cfg

BN = dict(type='BN')
RELU6 = dict(type='ReLU6')


def make_divisible(value: float, divisor: int, min_ratio: float = 0.9) -> int:
    """The multiple of `divisor` nearest to `value`, at least `divisor` and never below `min_ratio * value`."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < min_ratio * value else rounded


class InvertedResidual(BaseModule):
    """Pointwise expansion, depthwise convolution and linear projection (arXiv:1801.04381).

    Args:
        in_channels, out_channels: of the block.
        mid_channels: channels inside; without expansion if they are the input's.
        stride: of the depthwise convolution.
        with_cp: recompute activations in the backward pass instead of keeping them.
        cfgs: kinds of layer; the projection has no activation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        mid_channels: int,
        *,
        stride: int,
        with_cp: bool,
        **cfgs: Unpack[LayerCfgs],
    ) -> None:
        super().__init__()
        self.with_cp = with_cp
        self.with_shortcut = stride == 1 and in_channels == out_channels
        self.expand_conv: ConvModule | None = None
        if mid_channels != in_channels:
            self.expand_conv = ConvModule(in_channels, mid_channels, 1, **cfgs)
        self.depthwise_conv = ConvModule(
            mid_channels, mid_channels, 3, stride=stride, padding=1, groups=mid_channels, **cfgs
        )
        cfgs['act_cfg'] = None
        self.linear_conv = ConvModule(mid_channels, out_channels, 1, **cfgs)

    def _block(self, x: Tensor) -> Tensor:
        out: Tensor = x if self.expand_conv is None else self.expand_conv(x)
        out = self.linear_conv(self.depthwise_conv(out))
        return x + out if self.with_shortcut else out

    def forward(self, x: Tensor) -> Tensor:
        if self.with_cp and x.requires_grad:
            out: Tensor = checkpoint(self._block, x, use_reentrant=False)
            return out
        return self._block(x)


@BACKBONES.register_module()
class MobileNetV2(BaseModule):
    """MobileNetV2 (arXiv:1801.04381).

    Args:
        widen_factor: factor of all widths.
        out_indices: outputs that are returned: 0 to 6 are 'layer1' to 'layer7', 7 is the last convolution.
        frozen_stages: the stem (0) and the layers up to this one (at most 7) are not trained; -1 for none.
        conv_cfg, norm_cfg, act_cfg: kinds of layer.
        norm_eval: keep batch norms in eval mode while training.
        with_cp: recompute activations in the backward pass instead of keeping them.
        pretrained: deprecated, use init_cfg.
        init_cfg: initial weights.
    """

    # expansion, channels, blocks, stride of each layer
    arch_settings = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )

    def __init__(
        self,
        widen_factor: float = 1.0,
        out_indices: Sequence[int] = (1, 2, 4, 7),
        frozen_stages: int = -1,
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg = BN,
        act_cfg: Cfg = RELU6,
        norm_eval: bool = False,
        with_cp: bool = False,
        pretrained: str | None = None,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(resolve_init_cfg(pretrained, init_cfg))
        if not set(out_indices) <= set(range(8)):
            raise InvalidValueError(f'out_indices are from 0 to 7, got {out_indices!r}', key='out_indices')
        if frozen_stages not in range(-1, 8):
            raise InvalidValueError(f'frozen_stages is from -1 to 7, got {frozen_stages!r}', key='frozen_stages')
        self.widen_factor, self.out_indices = widen_factor, tuple(out_indices)
        self.frozen_stages, self.norm_eval = frozen_stages, norm_eval
        cfgs = LayerCfgs(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        channels = make_divisible(32 * widen_factor, 8)
        self.conv1 = ConvModule(3, channels, 3, stride=2, padding=1, **cfgs)
        self.layers: list[str] = []
        for expansion, planes, num_blocks, stride in self.arch_settings:
            target = make_divisible(planes * widen_factor, 8)
            blocks = []
            for index in range(num_blocks):
                hidden = round(channels * expansion)
                blocks.append(
                    InvertedResidual(channels, target, hidden, stride=1 if index else stride, with_cp=with_cp, **cfgs)
                )
                channels = target
            self.layers.append(f'layer{len(self.layers) + 1}')
            self.add_module(self.layers[-1], Sequential(*blocks))
        self.out_channel = int(1280 * max(widen_factor, 1.0))
        self.layers.append('conv2')
        self.conv2 = ConvModule(channels, self.out_channel, 1, **cfgs)
        self._freeze_stages()

    def _freeze_stages(self) -> None:
        if self.frozen_stages >= 0:
            freeze(self.conv1)
        for name in self.layers[: max(self.frozen_stages, 0)]:
            freeze(self.get_submodule(name))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (B, 3, H, W) -> the outputs of `out_indices`, of sizes / 2, 4, 8, 16, 16, 32, 32, 32."""
        x = self.conv1(x)
        outs = []
        for index, name in enumerate(self.layers):
            x = self.get_submodule(name)(x)
            if index in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            freeze_batch_norm(self)
        return self
