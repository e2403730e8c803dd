"""RetinaNet's head, arXiv:1708.02002."""

from __future__ import annotations

from torch import Tensor, nn
from typing_extensions import Unpack

from mmkit.models.dense_heads.anchor.anchor_head import AnchorHead
from mmkit.models.dense_heads.anchor.base_anchor_head import AnchorHeadArgs
from mmkit.models.dense_heads.towers import apply_convs, conv_tower
from mmkit.registry import HEADS, Cfg


# The Ascend variant of mmdetection is for another processor and computes the same; PISA's (arXiv:1904.04821) differs by
# its train_cfg.
@HEADS.register_module(['RetinaHead', 'AscendRetinaHead', 'PISARetinaHead'])
class RetinaHead(AnchorHead):
    """Two towers of 3x3 convolutions, one for classes and one for boxes, shared by the levels.

    Args:
        stacked_convs: convolutions in each tower.
        conv_cfg, norm_cfg: kinds of layer of the towers.

    Others as in `BaseAnchorHead`.
    """

    defaults = AnchorHeadArgs(
        anchor_generator=dict(
            type='AnchorGenerator',
            octave_base_scale=4,
            scales_per_octave=3,
            ratios=[0.5, 1.0, 2.0],
            strides=[8, 16, 32, 64, 128],
        ),
        init_cfg=dict(
            type='Normal',
            layer='Conv2d',
            std=0.01,
            override=dict(type='Normal', name='retina_cls', std=0.01, bias_prob=0.01),
        ),
    )

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        stacked_convs: int = 4,
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg | None = None,
        **kwargs: Unpack[AnchorHeadArgs],
    ) -> None:
        self.stacked_convs = stacked_convs
        self.conv_cfg = conv_cfg
        self.norm_cfg = norm_cfg
        super().__init__(num_classes, in_channels, **(self.defaults | kwargs))

    def _tower(self) -> nn.ModuleList:
        return conv_tower(
            self.in_channels, self.feat_channels, self.stacked_convs, conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg
        )

    def _init_layers(self) -> None:
        self.cls_convs = self._tower()
        self.reg_convs = self._tower()
        self.retina_cls = nn.Conv2d(self.feat_channels, self.num_base_priors * self.cls_out_channels, 3, padding=1)
        self.retina_reg = nn.Conv2d(self.feat_channels, self.num_base_priors * 4, 3, padding=1)

    def forward_single(self, feat: Tensor) -> tuple[Tensor, Tensor]:
        return self.retina_cls(apply_convs(self.cls_convs, feat)), self.retina_reg(apply_convs(self.reg_convs, feat))
