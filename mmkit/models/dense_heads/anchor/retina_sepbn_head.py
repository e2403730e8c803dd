"""RetinaNet's head with batch norms of each level's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from mmkit.layers import bias_init_with_prob, normal_init
from mmkit.models.dense_heads.anchor.retina_head import RetinaHead
from mmkit.models.dense_heads.towers import apply_convs
from mmkit.registry import HEADS


@HEADS.register_module()
class RetinaSepBNHead(RetinaHead):
    """The towers share their convolutions between levels, but not their norm layers (NAS-FPN, arXiv:1904.07392).

    Args:
        num_ins: number of levels.
        init_cfg: must be None, the weights start as RetinaNet's.

    Others as in `RetinaHead` and `AnchorHead`.
    """

    def __init__(
        self,
        num_classes: int,
        num_ins: int,
        in_channels: int,
        stacked_convs: int = 4,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
        init_cfg: None = None,
        feat_channels: int = 256,
        anchor_generator: Mapping[str, Any] = dict(
            type='AnchorGenerator', scales=[8, 16, 32], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64]
        ),
        bbox_coder: Mapping[str, Any] = dict(
            type='DeltaXYWHBBoxCoder', clip_border=True, target_means=(0.0,) * 4, target_stds=(1.0,) * 4
        ),
        reg_decoded_bbox: bool = False,
        loss_cls: Mapping[str, Any] = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        loss_bbox: Mapping[str, Any] = dict(type='SmoothL1Loss', beta=1.0 / 9.0, loss_weight=1.0),
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        if init_cfg is not None:
            raise ValueError(f'RetinaSepBNHead: init_cfg must be None, got {init_cfg}')
        self.num_ins = num_ins
        super().__init__(
            num_classes=num_classes,
            in_channels=in_channels,
            stacked_convs=stacked_convs,
            conv_cfg=conv_cfg,
            norm_cfg=norm_cfg,
            anchor_generator=anchor_generator,
            init_cfg=None,
            feat_channels=feat_channels,
            bbox_coder=bbox_coder,
            reg_decoded_bbox=reg_decoded_bbox,
            loss_cls=loss_cls,
            loss_bbox=loss_bbox,
            train_cfg=train_cfg,
            test_cfg=test_cfg,
        )

    def _init_layers(self) -> None:
        super()._init_layers()
        self.cls_convs = self._towers()
        self.reg_convs = self._towers()

    def _towers(self) -> nn.ModuleList:
        towers = nn.ModuleList(self._tower() for _ in range(self.num_ins))
        for tower in towers[1:]:
            for own, shared in zip(tower, towers[0], strict=True):
                own.conv = shared.conv
        return towers

    def init_weights(self) -> None:
        super().init_weights()
        for conv in [*self.cls_convs[0], *self.reg_convs[0]]:
            normal_init(conv.conv, std=0.01)
        normal_init(self.retina_cls, std=0.01, bias=bias_init_with_prob(0.01))
        normal_init(self.retina_reg, std=0.01)

    def forward(self, feats: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """As `AnchorHead.forward`; the levels are told apart by their order."""
        cls_scores = [
            self.retina_cls(apply_convs(tower, feat)) for tower, feat in zip(self.cls_convs, feats, strict=True)
        ]
        bbox_preds = [
            self.retina_reg(apply_convs(tower, feat)) for tower, feat in zip(self.reg_convs, feats, strict=True)
        ]
        return cls_scores, bbox_preds
