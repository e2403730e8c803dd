"""The mask head of CondInst, arXiv:2003.05664."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import torch
from torch import Tensor, nn

from mmkit.bbox.priors import MlvlPointGenerator
from mmkit.bbox.ranks import ranks_in_groups
from mmkit.errors import InvalidValueError
from mmkit.layers import BaseModule, ConvModule
from mmkit.layers.init import InitCfg
from mmkit.models.mask_heads.dynamic_conv import MaskKernels, dynamic_convs, num_dynamic_params
from mmkit.models.mask_heads.full_image import aligned_upsample, encode_masks
from mmkit.registry import HEADS, LOSSES, Cfg
from mmkit.structures import Batch, EncodedMasks, ImageMeta, Instances


class MaskFeatModule(BaseModule):
    """Features for the masks, from the sum of some levels at the size of the finest of them.

    Args:
        in_channels: of every level.
        feat_channels: of the hidden layers.
        start_level, end_level: the first and the last level that are read.
        out_channels: of the result.
        mask_stride: of the first level, in pixels.
        num_stacked_convs: 3x3 convolutions after the sum.
        conv_cfg, norm_cfg, act_cfg: kinds of layer.
    """

    def __init__(
        self,
        in_channels: int,
        feat_channels: int,
        start_level: int,
        end_level: int,
        out_channels: int,
        mask_stride: int = 8,
        num_stacked_convs: int = 4,
        conv_cfg: Cfg | None = None,
        norm_cfg: Cfg | None = None,
        act_cfg: Cfg | None = dict(type='ReLU'),
        init_cfg: InitCfg = dict(type='Normal', layer='Conv2d', std=0.01),
    ) -> None:
        super().__init__(init_cfg)
        if not 0 <= start_level <= end_level:
            message = f'mask_feature_head: start_level {start_level} is not in 0 .. end_level {end_level}'
            raise InvalidValueError(message, key='start_level')
        self.levels = slice(start_level, end_level + 1)
        self.mask_stride = mask_stride

        def conv(inputs: int) -> ConvModule:
            return ConvModule(
                inputs, feat_channels, 3, padding=1, conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg
            )

        self.convs_all_levels = nn.ModuleList()
        for level in range(end_level - start_level + 1):
            self.convs_all_levels.append(nn.Sequential())
            self.convs_all_levels[level].add_module(f'conv{level}', conv(in_channels))
        self.conv_branch = nn.Sequential(*(conv(feat_channels) for _ in range(num_stacked_convs)))
        self.conv_pred = nn.Conv2d(feat_channels, out_channels, 1)

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Levels (B, in_channels, h_l, w_l) -> (B, out_channels, h, w)."""
        total: Tensor | None = None
        for number, (feat, convs) in enumerate(zip(feats[self.levels], self.convs_all_levels, strict=True)):
            level = aligned_upsample(convs(feat), 2**number)
            total = level if total is None else total + level
        mask_feats: Tensor = self.conv_pred(self.conv_branch(total))
        return mask_feats


class CondInstMaskHeadArgs(TypedDict, total=False):
    """Arguments of `CondInstMaskHead` besides `mask_feature_head`, which BoxInst's takes, too."""

    num_layers: int
    feat_channels: int
    mask_out_stride: int
    size_of_interest: float
    max_masks_to_train: int
    topk_masks_per_img: int
    loss_mask: Cfg
    init_cfg: InitCfg


@HEADS.register_module()
class CondInstMaskHead(BaseModule):
    """Masks of whole images, from features that all objects share and convolutions that each has of its own.

    Args:
        mask_feature_head: arguments of `MaskFeatModule`.
        num_layers: of the convolutions of an object.
        feat_channels: of the hidden ones.
        mask_out_stride: pixels of a cell of the masks.
        size_of_interest: the unit in which an object's convolutions see where a cell is: strides of its level.
        max_masks_to_train: that many masks of an image are trained at most, chosen at random; -1: all.
        topk_masks_per_img: about that many are trained, the surest of every object; -1: all.
        loss_mask: of logits (K, h, w) against masks.

    Attributes:
        needs: fields of the ground truth to learn from, besides boxes and labels.

    Raises:
        InvalidValueError: if the stride of the features is no multiple of `mask_out_stride`, or both limits are given.
    """

    needs: tuple[str, ...] = ('gt_masks',)

    def __init__(
        self,
        mask_feature_head: Cfg,
        num_layers: int = 3,
        feat_channels: int = 8,
        mask_out_stride: int = 4,
        size_of_interest: float = 8,
        max_masks_to_train: int = -1,
        topk_masks_per_img: int = -1,
        loss_mask: Cfg = dict(type='DiceLoss', use_sigmoid=True, activate=True, eps=5e-6, loss_weight=1.0),
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(init_cfg)
        if max_masks_to_train > 0 and topk_masks_per_img > 0:
            raise InvalidValueError(
                'max_masks_to_train and topk_masks_per_img exclude each other', 'topk_masks_per_img'
            )
        self.mask_feature_head = MaskFeatModule(**mask_feature_head)
        self.widths = (mask_feature_head['out_channels'] + 2, *[feat_channels] * (num_layers - 1), 1)
        stride = self.mask_feature_head.mask_stride
        if stride % mask_out_stride:
            message = f'mask_out_stride {mask_out_stride} does not divide mask_stride {stride} of mask_feature_head'
            raise InvalidValueError(message, key='mask_out_stride')
        self.mask_out_stride = mask_out_stride
        self.size_of_interest = size_of_interest
        self.max_masks_to_train = max_masks_to_train
        self.topk_masks_per_img = topk_masks_per_img
        self.loss_mask = LOSSES.build(loss_mask)
        self.prior_generator = MlvlPointGenerator([stride])

    @property
    def num_params(self) -> int:
        """Parameters that each object needs."""
        return num_dynamic_params(self.widths)

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Levels -> mask features (B, C, h, w)."""
        mask_feats: Tensor = self.mask_feature_head(feats)
        return mask_feats

    def logits(self, mask_feats: Tensor, kernels: MaskKernels) -> Tensor:
        """Features (C, h, w) of one image and kernels of K objects -> logits (K, h', w') at `mask_out_stride`."""
        height, width = mask_feats.shape[-2:]
        cells = self.prior_generator.single_level_grid_priors((height, width), 0, device=mask_feats.device)
        away = kernels.points[:, None, :2] - cells  # (K, h * w, 2)
        away = away / (kernels.points[:, None, 2:] * self.size_of_interest)
        positions = away.transpose(1, 2).reshape(-1, 2, height, width)
        shared = mask_feats.float().expand(len(kernels), -1, -1, -1)
        masks = dynamic_convs(torch.cat([positions, shared], dim=1), kernels.params, self.widths)
        return aligned_upsample(masks, self.mask_feature_head.mask_stride // self.mask_out_stride).squeeze(1)

    # ------------------------------------------------------------------ training

    def loss(self, mask_feats: Tensor, kernels: Sequence[MaskKernels], batch: Batch) -> dict[str, Tensor]:
        """Loss of the masks of the positive points of every image, from features (B, C, h, w)."""
        assert batch.gts is not None
        losses, count = [], 0
        for feats, each, gts in zip(mask_feats, kernels, batch.gts, strict=True):
            chosen = self.choose(each)
            assert chosen.gt_inds is not None
            logits = self.logits(feats, chosen)
            targets = self.targets(gts, logits)[chosen.gt_inds]
            losses.append(self.loss_mask(logits, targets, reduction_override='none').sum())
            count += len(chosen)
        return dict(loss_mask=torch.stack(losses).sum() / max(count, 1))

    def choose(self, kernels: MaskKernels) -> MaskKernels:
        """The kernels of one image that are trained."""
        assert kernels.gt_inds is not None and kernels.quality is not None
        if 0 < self.max_masks_to_train < len(kernels):
            return kernels[torch.randperm(len(kernels))[: self.max_masks_to_train].to(kernels.params.device)]
        if self.topk_masks_per_img <= 0 or not len(kernels):
            return kernels
        limit = max(self.topk_masks_per_img // len(kernels.gt_inds.unique()), 1)
        return kernels[ranks_in_groups(kernels.quality, kernels.gt_inds) < limit]

    def targets(self, gts: Instances, logits: Tensor) -> Tensor:
        """(G, h, w) 0 and 1: masks at the pixels in the middle of the cells of `logits` (K, h, w)."""
        assert gts.masks is not None
        stride = self.mask_out_stride
        masks = gts.masks.to_tensor(device=logits.device)[:, stride // 2 :: stride, stride // 2 :: stride]
        height, width = logits.shape[-2:]
        targets = logits.new_zeros(len(masks), height, width)  # a batch may be larger than the canvas
        targets[:, : masks.shape[1], : masks.shape[2]] = masks[:, :height, :width]
        return targets

    # ------------------------------------------------------------------ prediction

    def predict(
        self,
        mask_feats: Tensor,
        kernels: Sequence[MaskKernels],
        metas: Sequence[ImageMeta],
        threshold: float = 0.5,
        rescale: bool = True,
    ) -> list[EncodedMasks]:
        """Masks of the detections of each image, in pixels of the original image with `rescale`.

        Args:
            mask_feats: (B, C, h, w).
            kernels: of the detections.
            threshold: probability above which a pixel belongs to the mask.
        """
        return [
            encode_masks(self.logits(feats, each).sigmoid(), self.mask_out_stride, meta, threshold, rescale)
            for feats, each, meta in zip(mask_feats, kernels, metas, strict=True)
        ]
