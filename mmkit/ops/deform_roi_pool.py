"""Deformable RoI pooling (arXiv:1703.06211)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.ops.roi_pool import Size, pair


def deform_roi_pool(
    feats: Tensor,
    rois: Tensor,
    offsets: Tensor | None,
    output_size: tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    gamma: float = 0.1,
) -> Tensor:
    """RoIAlign with bins shifted by `offsets`, differentiable in the features and in the offsets.

    Args:
        feats: (B, C, H, W).
        rois: (K, 5) image index, xyxy in image pixels.
        offsets: (K, 2, h, w) x and y, as fractions of the region's size, times `gamma`; None shifts nothing.
        output_size: (h, w).
        spatial_scale: feature pixels for one image pixel.
        sampling_ratio: samples per bin and direction; 0 chooses by the size of the region.
        gamma: factor of the offsets.

    Returns:
        (K, C, h, w).
    """
    rois = rois.to(torch.float32)
    start = rois[:, 1:3] * spatial_scale - 0.5
    size = (rois[:, 3:5] - rois[:, 1:3]) * spatial_scale  # (K, 2) w, h
    bins = size / size.new_tensor([output_size[1], output_size[0]])
    counts = torch.full_like(bins, sampling_ratio) if sampling_ratio > 0 else bins.ceil().clamp(min=0)
    corners = start[:, None, None] + _grid(output_size, feats.device) * bins[:, None, None]  # (K, h, w, 2)
    if offsets is not None:
        corners = corners + gamma * size[:, None, None] * offsets.float().permute(0, 2, 3, 1)
    pooled = feats.new_zeros(len(rois), feats.shape[1], *output_size)
    # Regions of one image with equally many samples per bin are pooled together.
    groups = torch.cat([rois[:, :1], counts], dim=1).long()
    for group in torch.unique(groups, dim=0):
        image, num_x, num_y = group.tolist()
        chosen = (groups == group).all(dim=1).nonzero().squeeze(1)
        if num_x and num_y:
            steps = (_grid((num_y, num_x), feats.device) + 0.5) / bins.new_tensor([num_x, num_y])  # (y, x, 2)
            points = corners[chosen][:, :, :, None, None] + steps * bins[chosen][:, None, None, None, None]
            mean = _sample(feats[image], points.flatten(3, 4)).mean(dim=-1)  # (C, k, h, w)
            pooled = pooled.index_copy(0, chosen, mean.transpose(0, 1).to(pooled.dtype))
    # Empty sums: without regions, too, features and offsets take part in the backward pass.
    return pooled + feats[:0].sum() + (0 if offsets is None else offsets[:0].sum())


def _grid(size: tuple[int, int], device: torch.device) -> Tensor:
    """(h, w, 2) x and y index of every cell."""
    ys, xs = (torch.arange(n, device=device, dtype=torch.float32) for n in size)
    return torch.stack(torch.meshgrid(xs, ys, indexing='xy'), dim=-1)


def _sample(feat: Tensor, points: Tensor) -> Tensor:
    """(C, H, W) sampled at points x, y (k, h, w, S, 2): (C, k, h, w, S), zero more than a pixel outside the map."""
    size = points.new_tensor([feat.shape[2], feat.shape[1]])
    inside = ((points >= -1) & (points <= size)).all(dim=-1)
    grid = ((points + 0.5) / size * 2 - 1).flatten(0, 2)  # (k * h * w, S, 2)
    values = F.grid_sample(feat[None].float(), grid[None], padding_mode='border', align_corners=False)[0]
    return values.view(len(feat), *points.shape[:-1]) * inside


def _zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


class DeformRoIPoolPack(nn.Module):
    """Deformable pooling with offsets predicted from the plainly pooled features.

    Args:
        output_size: an int or (height, width).
        output_channels: C of the features.
        deform_fc_channels: width of the layers that predict the offsets.
        spatial_scale, sampling_ratio, gamma: see `deform_roi_pool`.
    """

    def __init__(
        self,
        output_size: Size,
        output_channels: int,
        deform_fc_channels: int = 1024,
        spatial_scale: float = 1.0,
        sampling_ratio: int = 0,
        gamma: float = 0.1,
    ) -> None:
        super().__init__()
        self.output_size = pair(output_size, 'output_size')
        self.output_channels = output_channels
        self.spatial_scale = float(spatial_scale)
        self.sampling_ratio = int(sampling_ratio)
        self.gamma = float(gamma)
        cells = self.output_size[0] * self.output_size[1]
        self.offset_fc = nn.Sequential(
            nn.Linear(cells * output_channels, deform_fc_channels),
            nn.ReLU(inplace=True),
            nn.Linear(deform_fc_channels, deform_fc_channels),
            nn.ReLU(inplace=True),
            nn.Linear(deform_fc_channels, cells * 2),
        )
        _zero(self.offset_fc[-1])

    def _pool(self, feats: Tensor, rois: Tensor, offsets: Tensor | None = None) -> Tensor:
        return deform_roi_pool(
            feats,
            rois,
            offsets,
            self.output_size,
            spatial_scale=self.spatial_scale,
            sampling_ratio=self.sampling_ratio,
            gamma=self.gamma,
        )

    def _offsets(self, pooled: Tensor) -> Tensor:
        offsets: Tensor = self.offset_fc(pooled.flatten(1))
        return offsets.view(-1, 2, *self.output_size)

    def forward(self, feats: Tensor, rois: Tensor) -> Tensor:
        """Pool `rois` (K, 5: image index, xyxy in image pixels) of feats (B, C, H, W) into (K, C, *output_size)."""
        return self._pool(feats, rois, self._offsets(self._pool(feats, rois)))


class ModulatedDeformRoIPoolPack(DeformRoIPoolPack):
    """`DeformRoIPoolPack` with a predicted weight for every bin (arXiv:1811.11168); the arguments are the same."""

    def __init__(
        self,
        output_size: Size,
        output_channels: int,
        deform_fc_channels: int = 1024,
        spatial_scale: float = 1.0,
        sampling_ratio: int = 0,
        gamma: float = 0.1,
    ) -> None:
        super().__init__(
            output_size,
            output_channels,
            deform_fc_channels,
            spatial_scale=spatial_scale,
            sampling_ratio=sampling_ratio,
            gamma=gamma,
        )
        cells = self.output_size[0] * self.output_size[1]
        self.mask_fc = nn.Sequential(
            nn.Linear(cells * output_channels, deform_fc_channels),
            nn.ReLU(inplace=True),
            nn.Linear(deform_fc_channels, cells),
            nn.Sigmoid(),
        )
        _zero(self.mask_fc[-2])

    def forward(self, feats: Tensor, rois: Tensor) -> Tensor:
        pooled = self._pool(feats, rois)
        weights: Tensor = self.mask_fc(pooled.flatten(1)).view(-1, 1, *self.output_size)
        return self._pool(feats, rois, self._offsets(pooled)) * weights
