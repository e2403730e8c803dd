"""The last stage of a ResNet, applied to every region."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from mmkit.errors import InvalidValueError
from mmkit.layers import BaseModule, freeze_batch_norm
from mmkit.layers.init import InitCfg
from mmkit.models.backbones.residual_blocks import BlockSettings, ResidualBlock, build_stage
from mmkit.models.backbones.resnet import BN, ResNet
from mmkit.models.backbones.starting_weights import starting_weights
from mmkit.registry import SHARED_HEADS

Cfg = Mapping[str, Any]


@SHARED_HEADS.register_module()
class ResLayer(BaseModule):
    """One stage of a ResNet as head of a C4 detector (arXiv:1506.01497).

    Args:
        depth: of the ResNet.
        stage: index of the stage, from 0.
        stride, dilation: of the stage.
        style: 'pytorch' or 'caffe', see ResNet.
        norm_cfg: kind of norm.
        norm_eval: keep batch norms in eval mode while training.
        with_cp: recompute in the backward pass instead of keeping activations.
        dcn: kind of deformable convolution.
        pretrained: deprecated, use init_cfg.
        init_cfg: how the weights start.

    Raises:
        InvalidValueError: for a depth that there is no ResNet of.
    """

    def __init__(
        self,
        depth: int,
        stage: int = 3,
        stride: int = 2,
        dilation: int = 1,
        style: str = 'pytorch',
        norm_cfg: Cfg = BN,
        norm_eval: bool = True,
        with_cp: bool = False,
        dcn: Cfg | None = None,
        pretrained: str | None = None,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(starting_weights('ResLayer', pretrained, init_cfg))
        if depth not in ResNet.arch:
            raise InvalidValueError(f'ResLayer: depth is one of {sorted(ResNet.arch)}, got {depth!r}', key='depth')
        self.norm_eval = norm_eval
        self.layer_name = f'layer{stage + 1}'
        block, stage_blocks = ResNet.arch[depth]
        settings = BlockSettings(norm_cfg, style, with_cp, dcn=dcn)
        planes = 64 * 2**stage

        def make_block(channels: int, stride: int, downsample: nn.Module | None) -> ResidualBlock:
            return block(channels, planes, planes * block.expansion, stride, dilation, downsample, 1, settings)

        self.add_module(
            self.layer_name,
            build_stage(
                make_block,
                planes // 2 * block.expansion,
                planes * block.expansion,
                stage_blocks[stage],
                stride,
                False,
                settings,
            ),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Region features (K, C, h, w) -> (K, 2 C, h / stride, w / stride)."""
        out: Tensor = self.get_submodule(self.layer_name)(x)
        return out

    def train(self, mode: bool = True) -> ResLayer:
        super().train(mode)
        if self.norm_eval:
            freeze_batch_norm(self)
        return self
