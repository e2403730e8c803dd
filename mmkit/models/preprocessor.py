"""Normalisation of images on the device of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor, nn

from mmkit.errors import InvalidValueError
from mmkit.models.batch_augments import padded, rounded_up, with_padded_masks
from mmkit.registry import BATCH_AUGMENTS, DATA_PREPROCESSORS, Cfg
from mmkit.structures import Batch, ImageMeta, SemiBatch


@DATA_PREPROCESSORS.register_module()
class DataPreprocessor(nn.Module):
    """Makes float images of the pixels of a batch: (img - mean) / std, which the transform `Normalize` does otherwise.

    Images whose meta has an `img_norm_cfg` have been normalised already and stay as they are. It has neither parameters
    nor persistent buffers, so that names in checkpoints are those of the rest of the model.

    Args:
        mean, std: one number a channel, in the order of the result; without them values stay as they are.
        bgr_to_rgb: reverse the order of the channels first.
        pad_value: of the padding around an image, behind the normalisation.

    Raises:
        InvalidValueError: if only one of mean and std is given, they differ in length, or std isn't above 0.
    """

    mean: Tensor  # (C or 1, 1, 1)
    inverse_std: Tensor  # (C or 1, 1, 1)

    def __init__(
        self,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        bgr_to_rgb: bool = False,
        pad_value: float = 0,
    ) -> None:
        super().__init__()
        means, stds = (np.array(each or [], dtype=np.float32) for each in (mean, std))
        if means.shape != stds.shape or not (stds > 0).all():
            raise InvalidValueError(f'mean and std are one number a channel, std above 0; got {mean} and {std}', 'std')
        self.is_identity = mean is None and not bgr_to_rgb
        self.bgr_to_rgb = bgr_to_rgb
        self.pad_value = pad_value
        means, stds = (means, stds) if len(means) else (np.zeros(1, np.float32), np.ones(1, np.float32))
        self.img_norm_cfg = dict(mean=means, std=stds, to_rgb=bgr_to_rgb)
        inverse = (1 / stds.astype(np.float64)).astype(np.float32)
        self.register_buffer('mean', torch.from_numpy(means).reshape(-1, 1, 1), persistent=False)
        self.register_buffer('inverse_std', torch.from_numpy(inverse).reshape(-1, 1, 1), persistent=False)

    def forward(self, batch: Batch) -> Batch:
        """The batch on the device of the model, with float32 images and the `img_norm_cfg` of each in its meta."""
        batch = batch.to(self.mean.device, non_blocking=True)
        imgs = batch.imgs.float()  # (B, C, H, W)
        chosen = [number for number, meta in enumerate(batch.metas) if meta.img_norm_cfg is None]
        if self.is_identity or not chosen:
            return replace(batch, imgs=imgs)
        metas = list(batch.metas)
        if len(chosen) == len(metas):
            imgs = self._normalize(imgs, metas)
        else:
            rows = torch.tensor(chosen, device=imgs.device)
            imgs = imgs.index_copy(0, rows, self._normalize(imgs[rows], [metas[number] for number in chosen]))
        for number in chosen:
            metas[number] = replace(metas[number], img_norm_cfg=self.img_norm_cfg)
        return replace(batch, imgs=imgs, metas=metas)

    def _normalize(self, imgs: Tensor, metas: Sequence[ImageMeta]) -> Tensor:
        channels = imgs.shape[1]
        if len(self.mean) not in (1, channels) or (self.bgr_to_rgb and channels != 3):
            raise InvalidValueError(f'images have {channels} channels, mean and std have {len(self.mean)} numbers')
        if self.bgr_to_rgb:
            imgs = imgs.flip(1)
        imgs = (imgs - self.mean) * self.inverse_std
        for img, meta in zip(imgs, metas):
            height, width = meta.norm_shape or meta.pad_shape
            img[:, height:] = self.pad_value
            img[:, :, width:] = self.pad_value
        return imgs


class DetDataPreprocessorArgs(TypedDict, total=False):
    """Arguments of `DetDataPreprocessor`, which its variants take, too."""

    mean: Sequence[float] | None
    std: Sequence[float] | None
    pad_size_divisor: int
    pad_value: float
    pad_mask: bool
    mask_pad_value: int
    pad_seg: bool
    seg_pad_value: int
    bgr_to_rgb: bool
    rgb_to_bgr: bool
    batch_augments: Sequence[Cfg] | None


@DATA_PREPROCESSORS.register_module()
class DetDataPreprocessor(DataPreprocessor):
    """mmdetection 3.x's preprocessing: normalises, pads a batch to a multiple of a size, and augments it in training.

    `pad_shape` of each image becomes its own size, rounded up to `pad_size_divisor`.

    Args:
        mean, std: one number a channel, in the order of the result; without them values stay as they are.
        pad_size_divisor: height and width of the batch become multiples of it.
        pad_value: of the padding, behind the normalisation.
        pad_mask: in training, pad masks to the size of the batch, with `mask_pad_value`.
        mask_pad_value: of the padding of masks.
        pad_seg: pad semantic maps to the size of the batch, with `seg_pad_value`.
        seg_pad_value: of the padding of semantic maps.
        bgr_to_rgb, rgb_to_bgr: reverse the order of the channels first; one of them at most.
        batch_augments: changes of whole batches in training, classes in BATCH_AUGMENTS and their arguments.
    """

    def __init__(
        self,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        pad_size_divisor: int = 1,
        pad_value: float = 0,
        pad_mask: bool = False,
        mask_pad_value: int = 0,
        pad_seg: bool = False,
        seg_pad_value: int = 255,
        bgr_to_rgb: bool = False,
        rgb_to_bgr: bool = False,
        batch_augments: Sequence[Cfg] | None = None,
    ) -> None:
        if bgr_to_rgb and rgb_to_bgr:
            raise InvalidValueError('bgr_to_rgb and rgb_to_bgr exclude each other', 'rgb_to_bgr')
        if pad_size_divisor < 1:
            raise InvalidValueError(f'pad_size_divisor is at least 1, got {pad_size_divisor}', 'pad_size_divisor')
        super().__init__(mean, std, bgr_to_rgb=bgr_to_rgb or rgb_to_bgr, pad_value=pad_value)
        self.pad_size_divisor = pad_size_divisor
        self.mask_pad_value = mask_pad_value if pad_mask else None
        self.seg_pad_value = seg_pad_value if pad_seg else None
        self.batch_augments = nn.ModuleList(BATCH_AUGMENTS.build(augment) for augment in batch_augments or ())

    def forward(self, batch: Batch) -> Batch:
        batch = super().forward(batch)
        own = [meta.pad_shape for meta in batch.metas]
        size = rounded_up(batch.imgs.shape[-2:], self.pad_size_divisor)
        imgs = _with_padding(padded(batch.imgs, size, self.pad_value), own, self.pad_value)
        metas = [replace(meta, pad_shape=rounded_up(meta.pad_shape, self.pad_size_divisor)) for meta in batch.metas]
        seg = batch.gt_semantic_seg
        if seg is not None and self.seg_pad_value is not None and seg.shape[-2:] == batch.imgs.shape[-2:]:
            seg = _with_padding(padded(seg, size, self.seg_pad_value), own, self.seg_pad_value)
        batch = replace(batch, imgs=imgs, metas=metas, gt_semantic_seg=seg)
        if self.training:
            if self.mask_pad_value is not None:
                batch = with_padded_masks(batch, self.mask_pad_value)
            for augment in self.batch_augments:
                batch = augment(batch)
        return batch


def _with_padding(imgs: Tensor, sizes: Sequence[tuple[int, int]], value: float) -> Tensor:
    """(B, C, H, W) with `value` outside of `sizes`, the (height, width) of each image."""
    if all(size == tuple(imgs.shape[-2:]) for size in sizes):
        return imgs
    imgs = imgs.clone()
    for img, (height, width) in zip(imgs, sizes):
        img[:, height:] = value
        img[:, :, width:] = value
    return imgs


@DATA_PREPROCESSORS.register_module()
class MultiBranchDataPreprocessor(nn.Module):
    """Preprocessing of labelled images and of both views of unlabelled ones, all alike.

    Args:
        data_preprocessor: of a plain batch.
    """

    def __init__(self, data_preprocessor: Cfg) -> None:
        super().__init__()
        self.data_preprocessor = DATA_PREPROCESSORS.build(data_preprocessor)

    def forward(self, batch: Batch) -> Batch:
        if not isinstance(batch, SemiBatch):
            return self._prepared(batch)
        own = self._prepared(batch) if len(batch) else batch
        assert isinstance(own, SemiBatch)
        views = [None if view is None else self._prepared(view) for view in (batch.teacher, batch.student)]
        return replace(own, teacher=views[0], student=views[1])

    def _prepared(self, batch: Batch) -> Batch:
        prepared: Batch = self.data_preprocessor(batch)
        return prepared
