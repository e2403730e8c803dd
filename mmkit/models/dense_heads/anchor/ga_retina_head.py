"""RetinaNet's head with guided anchors, arXiv:1901.03278."""

from __future__ import annotations

from torch import Tensor, nn
from typing_extensions import Unpack

from mmkit.models.dense_heads.anchor.guided_anchor_head import GuidedAnchorArgs, GuidedAnchorHead
from mmkit.models.dense_heads.towers import apply_convs, conv_tower
from mmkit.registry import HEADS, Cfg


@HEADS.register_module()
class GARetinaHead(GuidedAnchorHead):
    """RetinaNet's towers, locations from that of the classes and shapes from that of the boxes.

    Args:
        stacked_convs: convolutions in each tower.
        conv_cfg, norm_cfg: kinds of layer of the towers.

    Others as in `GuidedAnchorHead`.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        stacked_convs: int = 4,
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg | None = None,
        **kwargs: Unpack[GuidedAnchorArgs],
    ) -> None:
        self.stacked_convs = stacked_convs
        self.conv_cfg = conv_cfg
        self.norm_cfg = norm_cfg
        if kwargs.get('init_cfg') is None:
            rare = [dict(type='Normal', name=name, std=0.01, bias_prob=0.01) for name in ('conv_loc', 'retina_cls')]
            kwargs['init_cfg'] = dict(type='Normal', layer='Conv2d', std=0.01, override=rare)
        super().__init__(num_classes, in_channels, **kwargs)

    def _init_layers(self) -> None:
        def tower() -> nn.ModuleList:
            return conv_tower(self.in_channels, self.feat_channels, self.stacked_convs, self.conv_cfg, self.norm_cfg)

        channels = self.feat_channels
        self.cls_convs, self.reg_convs = tower(), tower()
        self.conv_loc = nn.Conv2d(channels, 1, 1)
        self.conv_shape = nn.Conv2d(channels, 2, 1)
        self.feature_adaption_cls = self._adaption(channels)
        self.feature_adaption_reg = self._adaption(channels)
        self.retina_cls = nn.Conv2d(channels, self.cls_out_channels, 3, padding=1)
        self.retina_reg = nn.Conv2d(channels, 4, 3, padding=1)

    def forward_single(self, feat: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        cls_feat, reg_feat = apply_convs(self.cls_convs, feat), apply_convs(self.reg_convs, feat)
        shape = self.conv_shape(reg_feat)
        fixed = shape.detach()
        scores = self.retina_cls(self.feature_adaption_cls(cls_feat, fixed))
        deltas = self.retina_reg(self.feature_adaption_reg(reg_feat, fixed))
        return scores, deltas, shape, self.conv_loc(cls_feat)
