"""The last stage of a ResNet, applied to every region."""

from __future__ import annotations

from torch import Tensor

from mmkit.errors import InvalidValueError
from mmkit.layers import BaseModule, freeze_batch_norm
from mmkit.layers.init import InitCfg
from mmkit.models.backbones.init_cfg import resolve_init_cfg
from mmkit.models.backbones.residual_blocks import BlockSettings, build_stage
from mmkit.models.backbones.resnet import BN, ResNet
from mmkit.registry import SHARED_HEADS, Cfg


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
        super().__init__(resolve_init_cfg(pretrained, init_cfg))
        if depth not in ResNet.arch:
            raise InvalidValueError(f'ResLayer: depth is one of {sorted(ResNet.arch)}, got {depth!r}', key='depth')
        self.norm_eval = norm_eval
        self.layer_name = f'layer{stage + 1}'
        block, stage_blocks = ResNet.arch[depth]
        planes = 64 * 2**stage
        settings = BlockSettings(
            width=planes,
            out_channels=planes * block.expansion,
            norm_cfg=norm_cfg,
            dilation=dilation,
            style=style,
            with_cp=with_cp,
            dcn=dcn,
        )
        layer = build_stage(block, planes // 2 * block.expansion, stage_blocks[stage], stride, settings)
        self.add_module(self.layer_name, layer)

    def forward(self, x: Tensor) -> Tensor:
        """Region features (K, C, h, w) -> (K, 2 C, h / stride, w / stride)."""
        out: Tensor = self.get_submodule(self.layer_name)(x)
        return out

    def train(self, mode: bool = True) -> ResLayer:
        super().train(mode)
        if self.norm_eval:
            freeze_batch_norm(self)
        return self
