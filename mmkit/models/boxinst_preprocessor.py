"""Colours of neighbouring pixels, from which BoxInst (arXiv:2012.02310) learns masks."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import Unpack

from mmkit.models.losses.pairwise import neighbours
from mmkit.models.preprocessor import DetDataPreprocessor, DetDataPreprocessorArgs
from mmkit.registry import DATA_PREPROCESSORS
from mmkit.structures import Batch


@dataclass
class BoxInstBatch(Batch):
    """A batch for BoxInst.

    Attributes:
        similar: (B, K, h, w) 0 and 1, the K neighbours of each pixel of the masks that have a like colour.
    """

    similar: Tensor | None = None


@DATA_PREPROCESSORS.register_module()
class BoxInstDataPreprocessor(DetDataPreprocessor):
    """As `DetDataPreprocessor`; in training, it also compares the colours of neighbouring pixels.

    Args:
        mask_stride: pixels of a cell of the masks, whose mean colour counts.
        pairwise_size, pairwise_dilation: the neighbours of a cell, see `neighbours`.
        pairwise_color_thresh: colours are alike from this similarity on, 0 .. 1.
        bottom_pixels_removed: rows of the original image at its lower border that are nobody's neighbours.

    Others as in `DetDataPreprocessor`.
    """

    def __init__(
        self,
        mask_stride: int = 4,
        pairwise_size: int = 3,
        pairwise_dilation: int = 2,
        pairwise_color_thresh: float = 0.3,
        bottom_pixels_removed: int = 10,
        **kwargs: Unpack[DetDataPreprocessorArgs],
    ) -> None:
        super().__init__(**kwargs)
        self.mask_stride = mask_stride
        self.pairwise_size = pairwise_size
        self.pairwise_dilation = pairwise_dilation
        self.pairwise_color_thresh = pairwise_color_thresh
        self.bottom_pixels_removed = bottom_pixels_removed

    def forward(self, batch: Batch) -> Batch:
        batch = super().forward(batch)
        if not self.training:
            return batch
        values = {field.name: getattr(batch, field.name) for field in fields(Batch)}
        return BoxInstBatch(**values, similar=self.similar(batch))

    @torch.no_grad()
    def similar(self, batch: Batch) -> Tensor:
        """(B, K, h, w) 0 and 1 for the cells of the normalised images of `batch`."""
        colors = rgb_to_lab(functional.avg_pool2d(rgb_pixels(batch), self.mask_stride))  # (B, 3, h, w)
        around = neighbours(colors, self.pairwise_size, self.pairwise_dilation)  # (B, 3, K, h, w)
        distance: Tensor = torch.linalg.vector_norm(colors[:, :, None] - around, dim=1)  # (B, K, h, w)
        usable = neighbours(self._usable(batch, colors), self.pairwise_size, self.pairwise_dilation).squeeze(1)
        return ((-0.5 * distance).exp() * usable >= self.pairwise_color_thresh).float()

    def _usable(self, batch: Batch, colors: Tensor) -> Tensor:
        """(B, 1, h, w) 1 for the cells whose middle is neither padding nor near the lower border of the image."""
        height, width = colors.shape[-2:]
        usable = colors.new_zeros(len(batch), 1, height, width)
        start = self.mask_stride // 2
        for mask, meta in zip(usable, batch.metas):
            removed = int(self.bottom_pixels_removed * meta.img_shape[0] / meta.ori_shape[0])
            rows, columns = (
                -(-(size - start) // self.mask_stride) for size in (meta.img_shape[0] - removed, meta.img_shape[1])
            )
            mask[:, : max(rows, 0), : max(columns, 0)] = 1
        return usable


def rgb_pixels(batch: Batch) -> Tensor:
    """(B, 3, H, W) red, green and blue, 0 .. 255, of the images of a batch before they were normalised."""
    imgs = []
    for img, meta in zip(batch.imgs, batch.metas):
        norm = meta.img_norm_cfg or dict(mean=[0.0] * 3, std=[1.0] * 3, to_rgb=False)
        mean, std = (torch.as_tensor(norm[key], dtype=img.dtype, device=img.device) for key in ('mean', 'std'))
        pixels = img * std.reshape(-1, 1, 1) + mean.reshape(-1, 1, 1)
        imgs.append(pixels if norm['to_rgb'] else pixels.flip(0))
    return torch.stack(imgs)


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """sRGB (B, 3, h, w), 0 .. 255, to CIELAB of the white point D65: L in 0 .. 100, a and b around 0."""
    values = (rgb / 255).clamp(0, 1)
    linear = torch.where(values > 0.04045, ((values + 0.055) / 1.055) ** 2.4, values / 12.92)
    to_xyz = rgb.new_tensor(
        [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
    )
    white = rgb.new_tensor([0.95047, 1.0, 1.08883])
    xyz = torch.einsum('ij,bjhw->bihw', to_xyz / white[:, None], linear)
    x, y, z = torch.where(xyz > 0.008856, xyz.clamp(min=1e-8) ** (1 / 3), 7.787 * xyz + 16 / 116).unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)
