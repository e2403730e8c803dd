"""VGG."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from typing_extensions import Self

from mmkit.errors import InvalidValueError
from mmkit.layers import BaseModule, InitCfg, freeze, freeze_batch_norm
from mmkit.models.backbones.init_cfg import resolve_init_cfg
from mmkit.registry import BACKBONES

DEFAULT_INIT = (
    dict(type='Kaiming', layer='Conv2d'),
    dict(type='Constant', val=1, layer='BatchNorm2d'),
    dict(type='Normal', std=0.01, layer='Linear'),
)


@BACKBONES.register_module()
class VGG(BaseModule):
    """VGG without its classifier (arXiv:1409.1556).

    Args:
        depth: 11, 13, 16 or 19.
        with_bn: a batch norm after every convolution.
        num_stages: 1 to 5.
        dilations: one per stage.
        out_indices: stages whose output is returned, from 0.
        frozen_stages: number of stages that are not trained; -1 for none.
        bn_eval: keep batch norms in eval mode while training.
        bn_frozen: and do not train their weights either.
        ceil_mode: of the poolings.
        with_last_pool: pool after the last stage.
        pretrained: deprecated, use init_cfg.
        init_cfg: initial weights.
    """

    arch: ClassVar[dict[int, tuple[int, ...]]] = {
        11: (1, 1, 2, 2, 2),
        13: (2, 2, 2, 2, 2),
        16: (2, 2, 3, 3, 3),
        19: (2, 2, 4, 4, 4),
    }

    def __init__(
        self,
        depth: int,
        with_bn: bool = False,
        num_stages: int = 5,
        dilations: Sequence[int] = (1, 1, 1, 1, 1),
        out_indices: Sequence[int] = (0, 1, 2, 3, 4),
        frozen_stages: int = -1,
        bn_eval: bool = True,
        bn_frozen: bool = False,
        ceil_mode: bool = False,
        with_last_pool: bool = True,
        pretrained: str | None = None,
        init_cfg: InitCfg = None,
    ) -> None:
        name = type(self).__name__
        super().__init__(resolve_init_cfg(pretrained, init_cfg, DEFAULT_INIT))
        if depth not in self.arch:
            raise InvalidValueError(f'{name}: depth is one of {list(self.arch)}, got {depth!r}', key='depth')
        if not 1 <= num_stages <= 5:
            raise InvalidValueError(f'{name}: num_stages is 1 to 5, got {num_stages}', key='num_stages')
        if len(dilations) != num_stages:
            raise InvalidValueError(
                f'{name}: dilations has one value for each of the {num_stages} stages, got {dilations!r}',
                key='dilations',
            )
        if max(out_indices) >= num_stages:
            raise InvalidValueError(
                f'{name}: out_indices are stages 0 to {num_stages - 1}, got {out_indices!r}', key='out_indices'
            )
        self.out_indices, self.frozen_stages = tuple(out_indices), frozen_stages
        self.bn_eval, self.bn_frozen = bn_eval, bn_frozen
        layers: list[nn.Module] = []
        self.stage_ends: list[int] = []  # index of the first layer after each stage
        channels = 3
        for stage, (num_blocks, dilation) in enumerate(zip(self.arch[depth][:num_stages], dilations, strict=True)):
            planes = 64 * 2 ** min(stage, 3)
            for _ in range(num_blocks):
                layers.append(nn.Conv2d(channels, planes, 3, padding=dilation, dilation=dilation))
                if with_bn:
                    layers.append(nn.BatchNorm2d(planes))
                layers.append(nn.ReLU(inplace=True))
                channels = planes
            if stage < num_stages - 1 or with_last_pool:
                layers.append(nn.MaxPool2d(2, 2, ceil_mode=ceil_mode))
            self.stage_ends.append(len(layers))
        self.features = nn.Sequential(*layers)
        self._freeze_stages()

    def _freeze_stages(self) -> None:
        if self.frozen_stages > 0:
            freeze(self.features[: self.stage_ends[self.frozen_stages - 1]])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (B, 3, H, W) -> the outputs of `out_indices`, half the size each."""
        outs = []
        for index, layer in enumerate(self.features, 1):
            x = layer(x)
            if index in self.stage_ends and self.stage_ends.index(index) in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self._freeze_stages()
        if mode and self.bn_eval:
            freeze_batch_norm(self)
            for module in self.modules():
                if self.bn_frozen and isinstance(module, _BatchNorm):
                    freeze(module)
        return self


@BACKBONES.register_module()
class SSDVGG(VGG):
    """VGG followed by SSD's dilated and 1 x 1 convolution (arXiv:1512.02325).

    Args:
        depth: 11, 13, 16 or 19.
        with_last_pool: VGG's own pooling after its last stage.
        ceil_mode: of the poolings.
        out_indices: stages; checked, but without effect: `out_feature_indices` are returned.
        out_feature_indices: layers of `features` whose output is returned.
        pretrained: deprecated, use init_cfg.
        init_cfg: initial weights.
        input_size, l2_norm_scale: deprecated, without effect; SSDNeck has the latter.
    """

    def __init__(
        self,
        depth: int,
        with_last_pool: bool = False,
        ceil_mode: bool = True,
        out_indices: Sequence[int] = (3, 4),
        out_feature_indices: Sequence[int] = (22, 34),
        pretrained: str | None = None,
        init_cfg: InitCfg = None,
        input_size: int | None = None,
        l2_norm_scale: float | None = None,
    ) -> None:
        for key, value in (('input_size', input_size), ('l2_norm_scale', l2_norm_scale)):
            if value is not None:
                warnings.warn(
                    f'SSDVGG: {key}={value} is deprecated and has no effect', DeprecationWarning, stacklevel=2
                )
        super().__init__(
            depth,
            out_indices=out_indices,
            ceil_mode=ceil_mode,
            with_last_pool=with_last_pool,
            pretrained=pretrained,
            init_cfg=init_cfg,
        )
        self.out_feature_indices = tuple(out_feature_indices)
        for layer in (
            nn.MaxPool2d(3, 1, 1),
            nn.Conv2d(512, 1024, 3, padding=6, dilation=6),
            nn.ReLU(inplace=True),
            nn.Conv2d(1024, 1024, 1),
            nn.ReLU(inplace=True),
        ):
            self.features.append(layer)
        if max(out_feature_indices) >= len(self.features):
            raise InvalidValueError(
                f'SSDVGG: out_feature_indices are layers 0 to {len(self.features) - 1}, got {out_feature_indices!r}',
                key='out_feature_indices',
            )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (B, 3, H, W) -> the outputs of `out_feature_indices`."""
        outs = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.out_feature_indices:
                outs.append(x)
        return tuple(outs)
