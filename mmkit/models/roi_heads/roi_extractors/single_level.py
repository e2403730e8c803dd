"""Region features from one level of the pyramid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmkit import ops
from mmkit.errors import UnknownNameError
from mmkit.layers import BaseModule
from mmkit.layers.init import InitCfg
from mmkit.registry import ROI_EXTRACTORS, Cfg

ROI_LAYERS = {
    layer.__name__: layer
    for layer in (ops.RoIAlign, ops.RoIPool, ops.DeformRoIPoolPack, ops.ModulatedDeformRoIPoolPack)
}


def bboxes_to_rois(bboxes: Sequence[Tensor]) -> Tensor:
    """(n, 4) boxes of each image -> (R, 5) rows (index of the image, x1, y1, x2, y2)."""
    return torch.cat([torch.cat([b.new_full((len(b), 1), i), b[:, :4]], dim=1) for i, b in enumerate(bboxes)])


def scale_rois(rois: Tensor, factor: float) -> Tensor:
    """(R, 5) `rois` with width and height multiplied by `factor` around their centres."""
    centers = (rois[:, 1:3] + rois[:, 3:5]) / 2
    half = (rois[:, 3:5] - rois[:, 1:3]) * factor / 2
    return torch.cat([rois[:, :1], centers - half, centers + half], dim=1)


def build_roi_layers(roi_layer: Cfg, featmap_strides: Sequence[int]) -> nn.ModuleList:
    """One layer of `ROI_LAYERS` for each stride.

    Raises:
        UnknownNameError: for another type.
    """
    arguments = dict(roi_layer)
    kind = arguments.pop('type')
    if kind not in ROI_LAYERS:
        raise UnknownNameError(f'roi_layer type {kind!r} is unknown; known are {sorted(ROI_LAYERS)}', key='roi_layer')
    return nn.ModuleList(ROI_LAYERS[kind](spatial_scale=1 / stride, **arguments) for stride in featmap_strides)


@ROI_EXTRACTORS.register_module()
class SingleRoIExtractor(BaseModule):
    """Features of each region from the one level that suits its size (FPN, arXiv:1612.03144, eq. 1).

    Args:
        roi_layer: dict(type=one of `ROI_LAYERS`, output_size, ...).
        out_channels: channels of the features.
        featmap_strides: of the levels used; further levels are not read.
        finest_scale: regions whose sides are less than twice this many pixels read the first level.
    """

    def __init__(
        self,
        roi_layer: Cfg,
        out_channels: int,
        featmap_strides: Sequence[int],
        finest_scale: int = 56,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(init_cfg)
        self.roi_layers = build_roi_layers(roi_layer, featmap_strides)
        self.output_size = ops.pair(roi_layer['output_size'], 'output_size')
        self.out_channels = out_channels
        self.featmap_strides = list(featmap_strides)
        self.finest_scale = finest_scale

    @property
    def num_inputs(self) -> int:
        return len(self.featmap_strides)

    def levels(self, rois: Tensor) -> Tensor:
        """(R,) int64: the level that each of the (R, 5) regions reads."""
        sides = ((rois[:, 3] - rois[:, 1]) * (rois[:, 4] - rois[:, 2])).sqrt()
        return torch.floor(torch.log2(sides / self.finest_scale + 1e-6)).clamp(0, self.num_inputs - 1).long()

    def forward(self, feats: Sequence[Tensor], rois: Tensor, roi_scale_factor: float | None = None) -> Tensor:
        """Features of the levels and (R, 5) `rois` -> (R, C, h, w)."""
        levels = self.levels(rois)
        if roi_scale_factor is not None:
            rois = scale_rois(rois, roi_scale_factor)
        if self.num_inputs == 1:
            only: Tensor = self.roi_layers[0](feats[0], rois)
            return only
        pooled = feats[0].new_zeros(len(rois), self.out_channels, *self.output_size)
        for level, layer in enumerate(self.roi_layers):
            chosen = (levels == level).nonzero().squeeze(1)
            # Called without regions too, so that every level takes part in the backward pass in every process.
            pooled = pooled.index_copy(0, chosen, layer(feats[level], rois[chosen]).to(pooled.dtype))
        return pooled
