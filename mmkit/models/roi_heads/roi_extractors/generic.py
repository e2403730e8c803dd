"""Region features from all levels of the pyramid together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmkit.errors import InvalidValueError
from mmkit.layers import BaseModule, build_plugin_layer
from mmkit.layers.init import InitCfg
from mmkit.models.roi_heads.roi_extractors.single_level import build_roi_layers, scale_rois
from mmkit.registry import ROI_EXTRACTORS, Cfg


@ROI_EXTRACTORS.register_module()
class GenericRoIExtractor(BaseModule):
    """Sum or concatenation of each region's features from all levels (GRoIE, arXiv:2004.13665).

    Args:
        aggregation: 'sum', or 'concat' along the channels.
        pre_cfg: plugin for the features of each level, the same for all of them.
        post_cfg: plugin for the sum or the concatenation.
        roi_layer: dict(type=one of `ROI_LAYERS`, output_size, ...).
        out_channels: channels of the region features; with 'concat' those of all levels together.
        featmap_strides: of the levels; a single level is read as it is, without plugins.

    Raises:
        InvalidValueError: for another aggregation, and when the channels turn out not to be `out_channels`.
    """

    def __init__(
        self,
        aggregation: str = 'sum',
        pre_cfg: Cfg | None = None,
        post_cfg: Cfg | None = None,
        *,
        roi_layer: Cfg,
        out_channels: int,
        featmap_strides: Sequence[int],
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(init_cfg)
        if aggregation not in ('sum', 'concat'):
            raise InvalidValueError(
                f"GenericRoIExtractor: aggregation is 'sum' or 'concat', got {aggregation!r}", key='aggregation'
            )
        self.aggregation = aggregation
        self.roi_layers = build_roi_layers(roi_layer, featmap_strides)
        self.out_channels = out_channels
        self.featmap_strides = list(featmap_strides)
        self.post_module = None if post_cfg is None else build_plugin_layer(post_cfg)[1]
        self.pre_module = None if pre_cfg is None else build_plugin_layer(pre_cfg)[1]

    @property
    def num_inputs(self) -> int:
        return len(self.featmap_strides)

    def forward(self, feats: Sequence[Tensor], rois: Tensor, roi_scale_factor: float | None = None) -> Tensor:
        """Features of the levels and (R, 5) `rois` -> (R, out_channels, h, w)."""
        if roi_scale_factor is not None:
            rois = scale_rois(rois, roi_scale_factor)
        pooled: list[Tensor] = [layer(feat, rois) for layer, feat in zip(self.roi_layers, feats, strict=True)]
        if len(pooled) == 1:
            return pooled[0]
        if self.pre_module is not None:
            pooled = [self.pre_module(level) for level in pooled]
        merged = torch.stack(pooled).sum(0) if self.aggregation == 'sum' else torch.cat(pooled, dim=1)
        if merged.shape[1] != self.out_channels:
            raise InvalidValueError(
                f'GenericRoIExtractor: out_channels is {self.out_channels}, got {merged.shape[1]} channels',
                key='out_channels',
            )
        if self.post_module is not None:
            merged = self.post_module(merged)
        return merged
