"""Features of fixed size from regions of a feature map: RoIAlign and RoIPool."""

from __future__ import annotations

from collections.abc import Sequence

import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.errors import InvalidValueError

Size = int | Sequence[int]


def pair(size: Size, key: str = 'size') -> tuple[int, int]:
    """(vertical, horizontal) of a size: an int twice, or the two values of a sequence.

    Raises:
        InvalidValueError: there are not two values in the argument called `key`.
    """
    values = (size, size) if isinstance(size, int) else tuple(size)
    if len(values) != 2:
        raise InvalidValueError(f'{key} is an int or two values (vertical, horizontal), got {size!r}', key=key)
    return values[0], values[1]


class RoIAlign(nn.Module):
    """Bilinear pooling of regions (arXiv:1703.06870).

    Args:
        output_size: an int or (height, width).
        spatial_scale: feature pixels for one image pixel, e.g. 1 / 16.
        sampling_ratio: samples per bin and direction; 0 chooses by the size of the region.
        pool_mode: 'avg' or 'max' of the samples; 'max' needs a positive `sampling_ratio`.
        aligned: shift by half a pixel, so that pixel centres lie at integers.
        use_torchvision: has no effect; in mmcv it chooses between two equal kernels.
    """

    def __init__(
        self,
        output_size: Size,
        spatial_scale: float = 1.0,
        sampling_ratio: int = 0,
        pool_mode: str = 'avg',
        aligned: bool = True,
        use_torchvision: bool = False,
    ) -> None:
        super().__init__()
        if pool_mode not in ('avg', 'max'):
            raise InvalidValueError(f"RoIAlign: pool_mode is 'avg' or 'max', got {pool_mode!r}", key='pool_mode')
        if pool_mode == 'max' and sampling_ratio <= 0:
            raise InvalidValueError(
                f"RoIAlign: pool_mode='max' needs sampling_ratio > 0, got {sampling_ratio}", key='sampling_ratio'
            )
        self.output_size = pair(output_size, 'output_size')
        self.spatial_scale = float(spatial_scale)
        self.sampling_ratio = int(sampling_ratio)
        self.pool_mode = pool_mode
        self.aligned = aligned

    def forward(self, feats: Tensor, rois: Tensor) -> Tensor:
        """Pool `rois` (K, 5: image index, xyxy in image pixels) of feats (B, C, H, W) into (K, C, *output_size)."""
        if self.pool_mode == 'avg':
            return self._average(feats, rois, self.output_size, self.sampling_ratio)
        # one sample in each of ratio x ratio smaller bins, then their maximum
        ratio = self.sampling_ratio
        samples = self._average(feats, rois, (self.output_size[0] * ratio, self.output_size[1] * ratio), 1)
        return F.max_pool2d(samples, ratio)

    def _average(self, feats: Tensor, rois: Tensor, output_size: tuple[int, int], sampling_ratio: int) -> Tensor:
        pooled: Tensor = torchvision.ops.roi_align(
            feats,
            rois.to(feats.dtype),
            output_size,
            spatial_scale=self.spatial_scale,
            sampling_ratio=sampling_ratio,
            aligned=self.aligned,
        )
        return pooled

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

    def __init__(self, output_size: Size, spatial_scale: float = 1.0) -> None:
        super().__init__()
        self.output_size = pair(output_size, 'output_size')
        self.spatial_scale = float(spatial_scale)

    def forward(self, feats: Tensor, rois: Tensor) -> Tensor:
        """Pool `rois` (K, 5: image index, xyxy in image pixels) of feats (B, C, H, W) into (K, C, *output_size)."""
        pooled: Tensor = torchvision.ops.roi_pool(feats, rois.to(feats.dtype), self.output_size, self.spatial_scale)
        return pooled

    def extra_repr(self) -> str:
        return f'output_size={self.output_size}, spatial_scale={self.spatial_scale}'
