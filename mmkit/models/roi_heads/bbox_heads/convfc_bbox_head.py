"""Box heads with hidden layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from mmkit.layers import ConvModule
from mmkit.models.roi_heads.bbox_heads.bbox_head import BBoxHead
from mmkit.registry import HEADS


@HEADS.register_module()
class ConvFCBBoxHead(BBoxHead):
    """Convolutions, then linear layers; first shared ones, then a branch each for classes and boxes.

        shared convs -> shared fcs -> cls convs -> cls fcs -> fc_cls
                                   -> reg convs -> reg fcs -> fc_reg

    Raises:
        ValueError: for branch convolutions after shared linear layers.
    """

    def __init__(
        self,
        num_shared_convs: int = 0,
        num_shared_fcs: int = 0,
        num_cls_convs: int = 0,
        num_cls_fcs: int = 0,
        num_reg_convs: int = 0,
        num_reg_fcs: int = 0,
        conv_out_channels: int = 256,
        fc_out_channels: int = 1024,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
        init_cfg: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        with_avg_pool: bool = False,
        with_cls: bool = True,
        with_reg: bool = True,
        roi_feat_size: int | Sequence[int] = 7,
        in_channels: int = 256,
        num_classes: int = 80,
        bbox_coder: Mapping[str, Any] = dict(
            type='DeltaXYWHBBoxCoder', clip_border=True, target_means=[0.0] * 4, target_stds=[0.1, 0.1, 0.2, 0.2]
        ),
        reg_class_agnostic: bool = False,
        reg_decoded_bbox: bool = False,
        reg_predictor_cfg: Mapping[str, Any] = dict(type='Linear'),
        cls_predictor_cfg: Mapping[str, Any] = dict(type='Linear'),
        loss_cls: Mapping[str, Any] = dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
        loss_bbox: Mapping[str, Any] = dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0),
    ) -> None:
        if num_shared_fcs and (num_cls_convs or num_reg_convs):
            raise ValueError('num_cls_convs and num_reg_convs must be 0 after shared linear layers (num_shared_fcs)')
        if (num_cls_convs or num_cls_fcs) and not with_cls or (num_reg_convs or num_reg_fcs) and not with_reg:
            raise ValueError('layers of a branch that with_cls or with_reg switches off')
        self.num_shared_convs, self.num_shared_fcs = num_shared_convs, num_shared_fcs
        self.num_cls_convs, self.num_cls_fcs = num_cls_convs, num_cls_fcs
        self.num_reg_convs, self.num_reg_fcs = num_reg_convs, num_reg_fcs
        self.conv_out_channels, self.fc_out_channels = conv_out_channels, fc_out_channels
        self.conv_cfg, self.norm_cfg = conv_cfg, norm_cfg
        super().__init__(
            with_avg_pool=with_avg_pool,
            with_cls=with_cls,
            with_reg=with_reg,
            roi_feat_size=roi_feat_size,
            in_channels=in_channels,
            num_classes=num_classes,
            bbox_coder=bbox_coder,
            reg_class_agnostic=reg_class_agnostic,
            reg_decoded_bbox=reg_decoded_bbox,
            reg_predictor_cfg=reg_predictor_cfg,
            cls_predictor_cfg=cls_predictor_cfg,
            loss_cls=loss_cls,
            loss_bbox=loss_bbox,
            init_cfg=init_cfg,
        )

    def _init_predictors(self, cls_channels: int, reg_channels: int) -> None:
        """Build the hidden layers first: they decide what the predictors read."""
        channels, area = self.in_channels, 1 if self.with_avg_pool else self.roi_feat_area
        self.shared_convs = self._convs(self.num_shared_convs, channels)
        channels = self.conv_out_channels if self.num_shared_convs else channels
        self.shared_fcs = self._fcs(self.num_shared_fcs, channels * area)
        if self.num_shared_fcs:
            channels, area = self.fc_out_channels, 1
        self.cls_convs = self._convs(self.num_cls_convs, channels)
        self.reg_convs = self._convs(self.num_reg_convs, channels)
        cls_channels = (self.conv_out_channels if self.num_cls_convs else channels) * area
        reg_channels = (self.conv_out_channels if self.num_reg_convs else channels) * area
        self.cls_fcs = self._fcs(self.num_cls_fcs, cls_channels)
        self.reg_fcs = self._fcs(self.num_reg_fcs, reg_channels)
        self.relu = nn.ReLU(inplace=True)
        super()._init_predictors(
            self.fc_out_channels if self.num_cls_fcs else cls_channels,
            self.fc_out_channels if self.num_reg_fcs else reg_channels,
        )

    def _convs(self, count: int, in_channels: int) -> nn.ModuleList:
        return nn.ModuleList(
            ConvModule(
                self.conv_out_channels if index else in_channels,
                self.conv_out_channels,
                3,
                padding=1,
                conv_cfg=self.conv_cfg,
                norm_cfg=self.norm_cfg,
            )
            for index in range(count)
        )

    def _fcs(self, count: int, in_channels: int) -> nn.ModuleList:
        out = self.fc_out_channels
        return nn.ModuleList(nn.Linear(out if index else in_channels, out) for index in range(count))

    def _default_init(self) -> list[dict[str, Any]]:
        names = ('shared_fcs', 'cls_fcs', 'reg_fcs')
        hidden = dict(type='Xavier', distribution='uniform', override=[dict(name=name) for name in names])
        return [*super()._default_init(), hidden]

    def forward(self, feats: Tensor) -> tuple[Tensor | None, Tensor | None]:
        for conv in self.shared_convs:
            feats = conv(feats)
        if self.num_shared_fcs:
            feats = self._flatten(feats)
            for fc in self.shared_fcs:
                feats = self.relu(fc(feats))
        cls_score = self.fc_cls(self._branch(feats, self.cls_convs, self.cls_fcs)) if self.with_cls else None
        bbox_pred = self.fc_reg(self._branch(feats, self.reg_convs, self.reg_fcs)) if self.with_reg else None
        return cls_score, bbox_pred

    def _flatten(self, feats: Tensor) -> Tensor:
        if feats.dim() > 2 and self.with_avg_pool:
            feats = self.avg_pool(feats)
        return feats.flatten(1)

    def _branch(self, feats: Tensor, convs: nn.ModuleList, fcs: nn.ModuleList) -> Tensor:
        for conv in convs:
            feats = conv(feats)
        feats = self._flatten(feats)
        for fc in fcs:
            feats = self.relu(fc(feats))
        return feats


@HEADS.register_module()
class Shared2FCBBoxHead(ConvFCBBoxHead):
    """Two shared linear layers: the box head of FPN (arXiv:1612.03144)."""

    def __init__(
        self,
        fc_out_channels: int = 1024,
        conv_out_channels: int = 256,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
        init_cfg: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        with_avg_pool: bool = False,
        with_cls: bool = True,
        with_reg: bool = True,
        roi_feat_size: int | Sequence[int] = 7,
        in_channels: int = 256,
        num_classes: int = 80,
        bbox_coder: Mapping[str, Any] = dict(
            type='DeltaXYWHBBoxCoder', clip_border=True, target_means=[0.0] * 4, target_stds=[0.1, 0.1, 0.2, 0.2]
        ),
        reg_class_agnostic: bool = False,
        reg_decoded_bbox: bool = False,
        reg_predictor_cfg: Mapping[str, Any] = dict(type='Linear'),
        cls_predictor_cfg: Mapping[str, Any] = dict(type='Linear'),
        loss_cls: Mapping[str, Any] = dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
        loss_bbox: Mapping[str, Any] = dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0),
    ) -> None:
        super().__init__(
            num_shared_convs=0,
            num_shared_fcs=2,
            conv_out_channels=conv_out_channels,
            fc_out_channels=fc_out_channels,
            conv_cfg=conv_cfg,
            norm_cfg=norm_cfg,
            init_cfg=init_cfg,
            with_avg_pool=with_avg_pool,
            with_cls=with_cls,
            with_reg=with_reg,
            roi_feat_size=roi_feat_size,
            in_channels=in_channels,
            num_classes=num_classes,
            bbox_coder=bbox_coder,
            reg_class_agnostic=reg_class_agnostic,
            reg_decoded_bbox=reg_decoded_bbox,
            reg_predictor_cfg=reg_predictor_cfg,
            cls_predictor_cfg=cls_predictor_cfg,
            loss_cls=loss_cls,
            loss_bbox=loss_bbox,
        )


@HEADS.register_module()
class Shared4Conv1FCBBoxHead(ConvFCBBoxHead):
    """Four shared convolutions and one shared linear layer (Group Normalization, arXiv:1803.08494)."""

    def __init__(
        self,
        fc_out_channels: int = 1024,
        conv_out_channels: int = 256,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
        init_cfg: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        with_avg_pool: bool = False,
        with_cls: bool = True,
        with_reg: bool = True,
        roi_feat_size: int | Sequence[int] = 7,
        in_channels: int = 256,
        num_classes: int = 80,
        bbox_coder: Mapping[str, Any] = dict(
            type='DeltaXYWHBBoxCoder', clip_border=True, target_means=[0.0] * 4, target_stds=[0.1, 0.1, 0.2, 0.2]
        ),
        reg_class_agnostic: bool = False,
        reg_decoded_bbox: bool = False,
        reg_predictor_cfg: Mapping[str, Any] = dict(type='Linear'),
        cls_predictor_cfg: Mapping[str, Any] = dict(type='Linear'),
        loss_cls: Mapping[str, Any] = dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
        loss_bbox: Mapping[str, Any] = dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0),
    ) -> None:
        super().__init__(
            num_shared_convs=4,
            num_shared_fcs=1,
            conv_out_channels=conv_out_channels,
            fc_out_channels=fc_out_channels,
            conv_cfg=conv_cfg,
            norm_cfg=norm_cfg,
            init_cfg=init_cfg,
            with_avg_pool=with_avg_pool,
            with_cls=with_cls,
            with_reg=with_reg,
            roi_feat_size=roi_feat_size,
            in_channels=in_channels,
            num_classes=num_classes,
            bbox_coder=bbox_coder,
            reg_class_agnostic=reg_class_agnostic,
            reg_decoded_bbox=reg_decoded_bbox,
            reg_predictor_cfg=reg_predictor_cfg,
            cls_predictor_cfg=cls_predictor_cfg,
            loss_cls=loss_cls,
            loss_bbox=loss_bbox,
        )
