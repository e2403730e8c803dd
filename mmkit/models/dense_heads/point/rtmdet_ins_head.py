"""RTMDet's heads that segment, arXiv:2212.07784: masks by dynamic convolutions as in CondInst, arXiv:2003.05664."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad
from typing_extensions import Unpack

from mmkit.errors import InvalidValueError
from mmkit.layers import BaseModule, ConvModule
from mmkit.layers.csp_layer import SILU
from mmkit.models.dense_heads.detections import PostProcessing, detect_with_priors
from mmkit.models.dense_heads.levels import flatten_levels, shared_factor
from mmkit.models.dense_heads.point.rtmdet_head import RTMDetHead, RTMDetOuts
from mmkit.models.dense_heads.point.rtmdet_settings import RTMDetArgs, RTMDetHeadArgs, RTMDetPostProcessing
from mmkit.models.dense_heads.point.rtmdet_targets import RTMDetTargets
from mmkit.models.dense_heads.towers import apply_convs
from mmkit.models.mask_heads.dynamic_conv import dynamic_convs, num_dynamic_params
from mmkit.models.mask_heads.paste import resize_masks
from mmkit.registry import HEADS, LOSSES, Cfg, build_from_cfg
from mmkit.structures import Batch, ImageMeta, Instances, Masks

DICE = dict(type='DiceLoss', loss_weight=2.0, eps=5e-6, reduction='mean')


@dataclass(frozen=True)
class RTMDetInsPostProcessing(RTMDetPostProcessing):
    """`test_cfg` of a head that segments.

    Attributes:
        mask_thr_binary: a pixel whose probability is above this belongs to the mask.
    """

    mask_thr_binary: float = 0.5


class RTMDetInsArgs(RTMDetArgs, total=False):
    """Arguments that the heads of RTMDet that segment have besides; see `RTMDetInsHead`."""

    num_prototypes: int
    dyconv_channels: int
    num_dyconvs: int
    mask_loss_stride: int
    loss_mask: Cfg


class MaskFeatModule(BaseModule):
    """Features for dynamic convolutions: all levels in the size of the finest, and a tower on their combination.

    Args:
        in_channels: channels of every input level.
        feat_channels: width of the tower.
        stacked_convs: its length.
        num_levels: number of input levels.
        num_prototypes: P, channels of the features.
        act_cfg, norm_cfg: kinds of layer of the tower.
    """

    def __init__(
        self,
        in_channels: int,
        feat_channels: int = 256,
        stacked_convs: int = 4,
        num_levels: int = 3,
        num_prototypes: int = 8,
        act_cfg: Cfg | None = dict(type='ReLU', inplace=True),
        norm_cfg: Cfg | None = dict(type='BN'),
    ) -> None:
        super().__init__()
        self.fusion_conv = nn.Conv2d(num_levels * in_channels, in_channels, 1)
        widths = [in_channels, *[feat_channels] * stacked_convs]
        self.stacked_convs = nn.Sequential(
            *(ConvModule(a, b, 3, padding=1, act_cfg=act_cfg, norm_cfg=norm_cfg) for a, b in zip(widths, widths[1:]))
        )
        self.projection = nn.Conv2d(widths[-1], num_prototypes, 1)

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """(B, in_channels, H, W) of each level, the finest first -> (B, num_prototypes, H, W)."""
        size = feats[0].shape[-2:]
        same = [feats[0], *(interpolate(feat, size=size, mode='bilinear') for feat in feats[1:])]
        prototypes: Tensor = self.projection(self.stacked_convs(self.fusion_conv(torch.cat(same, dim=1))))
        return prototypes


@HEADS.register_module()
class RTMDetInsHead(RTMDetHead):
    """A `RTMDetHead` that predicts at each point the convolutions that segment its object.

    Args:
        num_prototypes: channels of the features that are convolved, besides two of coordinates.
        dyconv_channels, num_dyconvs: width and number of these convolutions.
        mask_loss_stride: masks are compared at every such pixel.
        loss_mask: compares logits with masks.
        test_cfg: see `RTMDetInsPostProcessing`.

    Others as in `RTMDetHead`.

    Raises:
        InvalidValueError: if `mask_loss_stride` does not divide the finest stride, or `num_dyconvs` is below 1.
    """

    post_processing = RTMDetInsPostProcessing

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        num_prototypes: int = 8,
        dyconv_channels: int = 8,
        num_dyconvs: int = 3,
        mask_loss_stride: int = 4,
        loss_mask: Cfg = DICE,
        **kwargs: Unpack[RTMDetHeadArgs],
    ) -> None:
        if num_dyconvs < 1:
            raise InvalidValueError(f'num_dyconvs is at least 1, got {num_dyconvs}', key='num_dyconvs')
        self.num_prototypes = num_prototypes
        self.widths = [num_prototypes + 2, *[dyconv_channels] * (num_dyconvs - 1), 1]
        self.num_params = num_dynamic_params(self.widths)
        self.mask_loss_stride = mask_loss_stride
        super().__init__(num_classes, in_channels, **kwargs)
        self.mask_stride = self.prior_generator.strides[0][0]  # pixels from cell to cell of the features
        if self.mask_stride % mask_loss_stride:
            raise InvalidValueError(
                f'mask_loss_stride divides the finest stride, {self.mask_stride}, got {mask_loss_stride}',
                key='mask_loss_stride',
            )
        self.loss_mask: nn.Module = build_from_cfg(loss_mask, LOSSES)

    def _init_layers(self) -> None:
        super()._init_layers()
        self.kernel_convs = self._towers(share_conv=False)
        self.rtm_kernel = self._predictor(self.num_params)
        self.mask_head = MaskFeatModule(
            self.in_channels,
            self.feat_channels,
            num_levels=self.prior_generator.num_levels,
            num_prototypes=self.num_prototypes,
            act_cfg=self.act_cfg,
            norm_cfg=self.norm_cfg,
        )

    def forward(self, feats: Sequence[Tensor]) -> RTMDetOuts:
        """Features (B, in_channels, H, W) of each level -> logits, distances, kernels and mask features."""
        outs = super().forward(feats)
        kernels = [
            self._at(self.rtm_kernel, level)(apply_convs(self._at(self.kernel_convs, level).children(), feat))
            for level, feat in enumerate(feats)
        ]
        return outs._replace(kernels=kernels, mask_feats=self.mask_head(feats))

    def kernels(self, outs: RTMDetOuts) -> tuple[Tensor, Tensor]:
        """Kernels (B, N, 3 + K) and mask features (B, P, h, w), as `mask_logits` takes them.

        A kernel is x, y and stride of its point, then the parameters of its convolutions.
        """
        assert outs.kernels is not None and outs.mask_feats is not None
        params = flatten_levels(outs.kernels, self.num_params).float()  # (B, N, K)
        points = torch.cat(self.points(outs.cls_scores))[:, :3]  # (N, 3)
        return torch.cat([points.expand(len(params), -1, -1), params], dim=-1), outs.mask_feats.float()

    def mask_logits(self, kernels: Tensor, mask_feats: Tensor) -> Tensor:
        """(M, h, w) logits of masks from M kernels (M, 3 + K) and the features (P, h, w) of their image."""
        cells = self.prior_generator.single_level_grid_priors(mask_feats.shape[-2:], 0, device=mask_feats.device)
        cells = cells.T.reshape(2, *mask_feats.shape[-2:])  # x, y
        points, strides = kernels[:, :2, None, None], kernels[:, 2:3, None, None]
        offsets = (points - cells) / (strides * 8)  # (M, 2, h, w)
        feats = torch.cat([offsets, mask_feats.expand(len(kernels), -1, -1, -1)], dim=1)  # (M, P + 2, h, w)
        return dynamic_convs(feats, kernels[:, 3:], self.widths).squeeze(1)

    # ------------------------------------------------------------------ training

    def losses_of_targets(
        self, outs: RTMDetOuts, scores: Tensor, bboxes: Tensor, targets: RTMDetTargets, batch: Batch
    ) -> dict[str, Tensor]:
        losses = super().losses_of_targets(outs, scores, bboxes, targets, batch)
        assert batch.gts is not None
        logits, wanted = [], []
        for kernels, feats, gt_inds, gts in zip(*self.kernels(outs), targets.gt_inds, batch.gts, strict=True):
            positive = gt_inds >= 0
            size = [edge * self.mask_stride // self.mask_loss_stride for edge in feats.shape[-2:]]
            coarse = self.mask_logits(kernels[positive], feats)  # (M, h, w)
            logits.append(interpolate(coarse[:, None], size=size, mode='bilinear').squeeze(1))
            assert gts.masks is not None
            wanted.append(strided_masks(gts.masks, self.mask_loss_stride, size, feats.device)[gt_inds[positive]])
        losses['loss_mask'] = self.loss_mask(
            torch.cat(logits).float(),
            torch.cat(wanted),
            avg_factor=shared_factor((targets.gt_inds >= 0).sum(), scores),
        )
        return losses

    # ------------------------------------------------------------------ prediction

    def predict(
        self,
        outs: RTMDetOuts,
        metas: Sequence[ImageMeta],
        cfg: Cfg | PostProcessing | None = None,
        rescale: bool = True,
    ) -> list[Instances]:
        """Detections of each image with their masks, best first."""
        settings = self.post_processing.from_cfg(cfg if cfg is not None else self.test_cfg)
        found = detect_with_priors(self.level_predictions(outs), self.decode_boxes, metas, settings, rescale=rescale)
        detections = []
        for each, kernels, feats, meta in zip(found, *self.kernels(outs), metas, strict=True):
            logits = self.mask_logits(kernels[each.prior_inds], feats)
            masks = resize_masks(logits, self.mask_stride, meta, settings.mask_thr_binary, rescale)
            detections.append(Instances(bboxes=each.bboxes, labels=each.labels, scores=each.scores, masks=masks))
        return detections


@HEADS.register_module()
class RTMDetInsSepBNHead(RTMDetInsHead):
    """RTMDet's head that segments, with norm layers and predictors for each level; distances are cut at 0.

    Classes and boxes share their towers, which have two names in checkpoints.

    Args:
        share_conv: the convolutions of these towers are the same for all levels.

    Others as in `RTMDetInsHead`.
    """

    separate_levels = True

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        share_conv: bool = True,
        with_objectness: bool = False,
        norm_cfg: Cfg | None = dict(type='BN', requires_grad=True),
        act_cfg: Cfg | None = SILU,
        pred_kernel_size: int = 1,
        **kwargs: Unpack[RTMDetInsArgs],
    ) -> None:
        self.share_conv = share_conv
        super().__init__(
            num_classes,
            in_channels,
            with_objectness=with_objectness,
            norm_cfg=norm_cfg,
            act_cfg=act_cfg,
            pred_kernel_size=pred_kernel_size,
            **kwargs,
        )

    def _init_layers(self) -> None:
        super()._init_layers()
        self.reg_convs = self.cls_convs

    def _strides_of(self, raw: Tensor, level: int) -> Tensor:
        return raw.relu()


def strided_masks(masks: Masks, stride: int, size: Sequence[int], device: torch.device) -> Tensor:
    """(N, height, width) float of 0 and 1: the middle pixel of every `stride` x `stride`, padded to `size`."""
    sampled = torch.from_numpy(masks.to_ndarray()[:, stride // 2 :: stride, stride // 2 :: stride].copy())
    sampled = sampled.to(device=device, dtype=torch.float32)[:, : size[0], : size[1]]
    return pad(sampled, (0, size[1] - sampled.shape[2], 0, size[0] - sampled.shape[1]))
