"""The box head of CondInst (arXiv:2003.05664) and BoxInst (arXiv:2012.02310)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from mmkit.models.dense_heads.detections import PostProcessing, PriorInstances, detect_with_priors
from mmkit.models.dense_heads.levels import flatten_levels
from mmkit.models.dense_heads.point.fcos_head import FCOSHead, FCOSHeadArgs, FCOSOuts, FCOSTargets
from mmkit.models.mask_heads.dynamic_conv import MaskKernels
from mmkit.registry import HEADS
from mmkit.structures import ImageMeta


@dataclass(frozen=True)
class CondInstPostProcessing(PostProcessing):
    """As `PostProcessing`, and the making of masks.

    Attributes:
        mask_thr: probability above which a pixel belongs to the mask.
    """

    mask_thr: float = 0.5


@HEADS.register_module(['CondInstBboxHead', 'BoxInstBboxHead'])
class CondInstBboxHead(FCOSHead):
    """FCOS's head, which also predicts the mask convolutions of the object at each point.

    Args:
        num_classes: C, without background.
        in_channels: channels of every input level.
        num_params: parameters of those convolutions.

    Others as in `FCOSHead`.
    """

    post_processing = CondInstPostProcessing
    test_cfg: CondInstPostProcessing | None

    def __init__(
        self, num_classes: int, in_channels: int, num_params: int = 169, **kwargs: Unpack[FCOSHeadArgs]
    ) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        self.num_params = num_params
        self.controller = nn.Conv2d(self.feat_channels, num_params, 3, padding=1)

    def forward(self, feats: Sequence[Tensor]) -> FCOSOuts:
        """As FCOS's, with `kernels`."""
        kernels: list[Tensor] = []
        outs = FCOSOuts([], [], [], kernels)
        for feat, scale in zip(feats, self.scales, strict=True):
            kernels.append(self.controller(self.forward_single(feat, scale, outs)))
        return outs

    def positive_kernels(self, outs: FCOSOuts, targets: FCOSTargets) -> list[MaskKernels]:
        """The kernels of the positive points of each image."""
        points, params = self._flat_kernels(outs)
        scores = flatten_levels([each.detach() for each in outs.cls_scores], self.cls_out_channels).float()
        centernesses = flatten_levels([each.detach() for each in outs.centernesses], 1).float()
        quality = scores.sigmoid().amax(dim=-1) * centernesses.squeeze(-1).sigmoid()  # (B, N)
        positive = [row.nonzero().squeeze(1) for row in targets.labels < self.num_classes]
        return [
            MaskKernels(params[image][inds], points[inds], targets.gt_inds[image][inds], quality[image][inds])
            for image, inds in enumerate(positive)
        ]

    def kernels_at(self, outs: FCOSOuts, prior_inds: Sequence[Tensor]) -> list[MaskKernels]:
        """The kernels of some points (K,) of each image."""
        points, params = self._flat_kernels(outs)
        return [MaskKernels(params[image][inds], points[inds]) for image, inds in enumerate(prior_inds)]

    def _flat_kernels(self, outs: FCOSOuts) -> tuple[Tensor, Tensor]:
        """Points (N, 4) of all levels, and kernels (B, N, P)."""
        return torch.cat(self.points(outs.cls_scores)), flatten_levels(outs.kernels, self.num_params).float()

    def detect(self, outs: FCOSOuts, metas: Sequence[ImageMeta], rescale: bool = True) -> list[PriorInstances]:
        """As `predict`, with the points that detections come from."""
        settings = self.post_processing.from_cfg(self.test_cfg)
        return detect_with_priors(self.level_predictions(outs), self.decode_boxes, metas, settings, rescale=rescale)
