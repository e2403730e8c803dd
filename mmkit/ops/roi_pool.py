"""Features of fixed size from regions of a feature map."""

from __future__ import annotations

from collections.abc import Sequence

import torchvision
from torch import Tensor, nn
from torch.nn import functional as F


def _pair(name: str, size: int | Sequence[int]) -> tuple[int, int]:
    values = (size, size) if isinstance(size, int) else tuple(size)
    if len(values) != 2:
        raise ValueError(f'{name}: output_size is an int or (height, width), got {size!r}')
    return values[0], values[1]


class RoIAlign(nn.Module):
    """Bilinear pooling of regions (arXiv:1703.06870).

    Args:
        output_size: an int or (height, width).
        spatial_scale: feature pixels for one image pixel, e.g. 1 / 16.
        sampling_ratio: samples per bin and direction; 0 chooses by the size of the region.
        pool_mode: 'avg' or 'max' of the samples; 'max' needs a positive `sampling_ratio`.
        aligned: shift by half a pixel, so that pixel centres are at integers.
        use_torchvision: which of two equal kernels mmcv would take; here both values are torchvision's.
    """

    def __init__(
        self,
        output_size: int | Sequence[int],
        spatial_scale: float = 1.0,
        sampling_ratio: int = 0,
        pool_mode: str = 'avg',
        aligned: bool = True,
        use_torchvision: bool = False,
    ) -> None:
        super().__init__()
        if pool_mode not in ('avg', 'max'):
            raise ValueError(f"RoIAlign: pool_mode is 'avg' or 'max', got {pool_mode!r}")
        if pool_mode == 'max' and sampling_ratio <= 0:
            raise ValueError(f"RoIAlign: pool_mode='max' needs sampling_ratio > 0, got {sampling_ratio}")
        self.output_size = _pair('RoIAlign', output_size)
        self.spatial_scale = float(spatial_scale)
        self.sampling_ratio = int(sampling_ratio)
        self.pool_mode = pool_mode
        self.aligned = aligned
        self.use_torchvision = use_torchvision

    def forward(self, feats: Tensor, rois: Tensor) -> Tensor:
        """Pool `rois` (K, 5: image index, xyxy in image pixels) of feats (B, C, H, W) into (K, C, *output_size)."""
        rois = rois.to(feats.dtype)
        size, ratio = self.output_size, self.sampling_ratio
        if self.pool_mode == 'avg':
            pooled: Tensor = torchvision.ops.roi_align(feats, rois, size, self.spatial_scale, ratio, self.aligned)
            return pooled
        # one sample in each of ratio x ratio smaller bins, then their maximum
        samples = torchvision.ops.roi_align(
            feats, rois, (size[0] * ratio, size[1] * ratio), self.spatial_scale, 1, self.aligned
        )
        return F.max_pool2d(samples, ratio)

    def extra_repr(self) -> str:
        return (
            f'output_size={self.output_size}, spatial_scale={self.spatial_scale}, '
            f'sampling_ratio={self.sampling_ratio}, pool_mode={self.pool_mode!r}, aligned={self.aligned}'
        )


class RoIPool(nn.Module):
    """Max pooling of regions, rounded to whole feature pixels (arXiv:1504.08083).

    Args:
        output_size: an int or (height, width).
        spatial_scale: feature pixels for one image pixel.
    """

    def __init__(self, output_size: int | Sequence[int], spatial_scale: float = 1.0) -> None:
        super().__init__()
        self.output_size = _pair('RoIPool', output_size)
        self.spatial_scale = float(spatial_scale)

    def forward(self, feats: Tensor, rois: Tensor) -> Tensor:
        """Pool `rois` (K, 5: image index, xyxy in image pixels) of feats (B, C, H, W) into (K, C, *output_size)."""
        pooled: Tensor = torchvision.ops.roi_pool(feats, rois.to(feats.dtype), self.output_size, self.spatial_scale)
        return pooled

    def extra_repr(self) -> str:
        return f'output_size={self.output_size}, spatial_scale={self.spatial_scale}'
