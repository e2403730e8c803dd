"""RetinaNet's head with separate batch norms for each level."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from typing_extensions import Unpack

from mmkit.errors import InvalidValueError
from mmkit.layers import ConvModule, bias_init_with_prob, normal_init
from mmkit.models.dense_heads.anchor.anchor_head import AnchorHead, AnchorOuts
from mmkit.models.dense_heads.anchor.base_anchor_head import AnchorHeadArgs
from mmkit.models.dense_heads.towers import apply_convs, conv_tower, level_towers
from mmkit.registry import HEADS, Cfg


@HEADS.register_module()
class RetinaSepBNHead(AnchorHead):
    """RetinaNet's towers, whose levels share the convolutions but not the norm layers (NAS-FPN, arXiv:1904.07392).

    Args:
        num_ins: number of levels.
        stacked_convs: convolutions in each tower.
        conv_cfg, norm_cfg: kinds of layer of the towers.
        init_cfg: must be None, the weights are initialised as RetinaNet's.

    Others as in `BaseAnchorHead`.
    """

    def __init__(
        self,
        num_classes: int,
        num_ins: int,
        in_channels: int,
        stacked_convs: int = 4,
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg | None = None,
        **kwargs: Unpack[AnchorHeadArgs],
    ) -> None:
        if kwargs.setdefault('init_cfg', None) is not None:
            raise InvalidValueError(f'RetinaSepBNHead: init_cfg must be None, got {kwargs["init_cfg"]}', key='init_cfg')
        self.num_ins = num_ins
        self.stacked_convs = stacked_convs
        self.conv_cfg = conv_cfg
        self.norm_cfg = norm_cfg
        super().__init__(num_classes, in_channels, **kwargs)

    def _init_layers(self) -> None:
        def tower() -> nn.ModuleList:
            return conv_tower(self.in_channels, self.feat_channels, self.stacked_convs, self.conv_cfg, self.norm_cfg)

        self.cls_convs = level_towers(tower, self.num_ins)
        self.reg_convs = level_towers(tower, self.num_ins)
        self.retina_cls = nn.Conv2d(self.feat_channels, self.num_base_priors * self.cls_out_channels, 3, padding=1)
        self.retina_reg = nn.Conv2d(self.feat_channels, self.num_base_priors * 4, 3, padding=1)

    def init_weights(self) -> None:
        super().init_weights()
        for layer in [*self.cls_convs[0].children(), *self.reg_convs[0].children()]:
            assert isinstance(layer, ConvModule)
            normal_init(layer.conv, std=0.01)
        normal_init(self.retina_cls, std=0.01, bias=bias_init_with_prob(0.01))
        normal_init(self.retina_reg, std=0.01)

    def forward(self, feats: Sequence[Tensor]) -> AnchorOuts:
        """As `AnchorHead.forward`; the towers belong to the levels by their order."""
        cls_feats = [apply_convs(tower.children(), feat) for tower, feat in zip(self.cls_convs, feats, strict=True)]
        reg_feats = [apply_convs(tower.children(), feat) for tower, feat in zip(self.reg_convs, feats, strict=True)]
        return AnchorOuts(
            cls_scores=[self.retina_cls(feat) for feat in cls_feats],
            bbox_preds=[self.retina_reg(feat) for feat in reg_feats],
        )
