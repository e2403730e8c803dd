"""CenterNet's head, arXiv:1904.07850."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmkit.bbox import bbox_centers
from mmkit.layers import BaseModule, bias_init_with_prob
from mmkit.layers.init import InitCfg, normal_init
from mmkit.models.dense_heads.detections import LevelPredictions, PostProcessing, detect
from mmkit.models.dense_heads.levels import flatten_level, shared_factor
from mmkit.models.dense_heads.point.heatmap import draw_gaussian, gaussian_radius, local_maxima
from mmkit.registry import HEADS, LOSSES, Cfg
from mmkit.structures import Batch, ImageMeta, Instances

MIN_OVERLAP = 0.3  # of a box whose corners move by the radius of an object's Gaussian


class CenterNetOuts(NamedTuple):
    """Predictions of the cells of one map."""

    heatmap: Tensor  # (B, C, H, W) probabilities
    sizes: Tensor  # (B, 2, H, W) width and height of the object, in cells
    offsets: Tensor  # (B, 2, H, W) x and y of its centre in the cell


class CenterNetTargets(NamedTuple):
    """Training targets of one image; the K objects that lie on the map."""

    heatmap: Tensor  # (C, H, W)
    cells: Tensor  # (K,) int64, of the centres, row after row
    sizes: Tensor  # (K, 2)
    offsets: Tensor  # (K, 2)


@dataclass(frozen=True)
class CenterNetPostProcessing(PostProcessing):
    """As `PostProcessing`, but `nms` may be None: each object has one peak.

    Attributes:
        topk: candidates of an image.
        local_maximum_kernel: a peak is the greatest of that many cells around it, along either axis.
    """

    nms: Cfg | None = None  # type: ignore[assignment]  # detections of other heads need NMS
    topk: int = 100
    local_maximum_kernel: int = 3


@HEADS.register_module()
class CenterNetHead(BaseModule):
    """Class heat maps with a peak at the centre of every object; its size, and where the centre is in its cell.

    Args:
        in_channels: of the map.
        feat_channels: of the hidden layers.
        num_classes: C.
        loss_center_heatmap, loss_wh, loss_offset: of the heat maps, the sizes and the centres.
        train_cfg: has no effect.
        test_cfg: see `CenterNetPostProcessing`.
    """

    compares_classes = True  # num_classes must be the number of classes in the dataset

    def __init__(
        self,
        in_channels: int,
        feat_channels: int,
        num_classes: int,
        loss_center_heatmap: Cfg = dict(type='GaussianFocalLoss', loss_weight=1.0),
        loss_wh: Cfg = dict(type='L1Loss', loss_weight=0.1),
        loss_offset: Cfg = dict(type='L1Loss', loss_weight=1.0),
        train_cfg: Cfg | None = None,
        test_cfg: Cfg | None = None,
        init_cfg: InitCfg = None,
    ) -> None:
        super().__init__(init_cfg)
        self.num_classes = num_classes

        def branch(channels: int) -> nn.Sequential:
            hidden = nn.Conv2d(in_channels, feat_channels, 3, padding=1)
            return nn.Sequential(hidden, nn.ReLU(inplace=True), nn.Conv2d(feat_channels, channels, 1))

        self.heatmap_head, self.wh_head, self.offset_head = branch(num_classes), branch(2), branch(2)
        self.loss_center_heatmap = LOSSES.build(loss_center_heatmap)
        self.loss_wh = LOSSES.build(loss_wh)
        self.loss_offset = LOSSES.build(loss_offset)
        self.test_cfg = CenterNetPostProcessing.from_cfg(test_cfg) if test_cfg else None

    def init_weights(self) -> None:
        super().init_weights()
        for layer in (*self.wh_head, *self.offset_head):
            if isinstance(layer, nn.Conv2d):
                normal_init(layer, std=0.001)
        last = self.heatmap_head[-1]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        nn.init.constant_(last.bias, bias_init_with_prob(0.1))  # peaks are rare

    def forward(self, feats: Sequence[Tensor]) -> CenterNetOuts:
        """One map (B, in_channels, H, W) -> heat map, sizes, offsets."""
        (feat,) = feats
        return CenterNetOuts(self.heatmap_head(feat).sigmoid(), self.wh_head(feat), self.offset_head(feat))

    def loss(self, outs: CenterNetOuts, batch: Batch) -> dict[str, Tensor]:
        assert batch.gts is not None
        scale = cell_size(outs, batch.metas)
        targets = [self.targets(outs.heatmap, gts, scale) for gts in batch.gts]
        heatmap = torch.stack([each.heatmap for each in targets])  # (B, C, H, W)
        peaks = shared_factor(heatmap.eq(1).sum(), heatmap)

        def at_centers(preds: Tensor) -> Tensor:
            flat = flatten_level(preds.float(), 2)  # (B, H * W, 2)
            return torch.cat([rows[each.cells] for rows, each in zip(flat, targets, strict=True)])

        sizes = torch.cat([each.sizes for each in targets])
        offsets = torch.cat([each.offsets for each in targets])
        return dict(
            loss_center_heatmap=self.loss_center_heatmap(outs.heatmap.float(), heatmap, avg_factor=peaks),
            loss_wh=self.loss_wh(at_centers(outs.sizes), sizes, avg_factor=2 * peaks),
            loss_offset=self.loss_offset(at_centers(outs.offsets), offsets, avg_factor=2 * peaks),
        )

    @torch.no_grad()
    def targets(self, like: Tensor, gts: Instances, scale: Tensor) -> CenterNetTargets:
        """Targets of one image on the map of `like` (B, C, H, W), whose cells have the size `scale` (2,) in pixels."""
        assert gts.labels is not None
        height, width = like.shape[-2:]
        heatmap = like.new_zeros(self.num_classes, height, width, dtype=torch.float32)
        centers = bbox_centers(gts.bboxes) / scale  # (G, 2)
        cells = centers.long()
        sizes = (gts.bboxes[:, 2:] - gts.bboxes[:, :2]) / scale
        for label, cell, (w, h) in zip(gts.labels.tolist(), cells.tolist(), sizes.tolist(), strict=True):
            draw_gaussian(heatmap[label], (cell[0], cell[1]), max(0, int(gaussian_radius(h, w, MIN_OVERLAP))))
        # Of two objects in one cell the later counts.
        inds = cells[:, 1] * width + cells[:, 0]
        last = torch.tensor([not (inds[i + 1 :] == inds[i]).any() for i in range(len(inds))], dtype=torch.bool)
        last = last.to(inds.device)
        return CenterNetTargets(heatmap, inds[last], sizes[last], (centers - cells)[last])

    # ------------------------------------------------------------------ prediction

    def _level(self, outs: CenterNetOuts, metas: Sequence[ImageMeta], heatmap: Tensor) -> LevelPredictions:
        """The cells as priors: the column, the row, and the size in pixels."""
        height, width = heatmap.shape[-2:]
        rows, columns = (torch.arange(size, device=heatmap.device) for size in (height, width))
        grid = torch.stack(torch.meshgrid(columns, rows, indexing='xy'), dim=-1).reshape(-1, 2)
        priors = torch.cat([grid, cell_size(outs, metas).expand_as(grid)], dim=1)  # (H * W, 4)
        preds = torch.cat([outs.sizes, outs.offsets], dim=1).detach().float()
        return LevelPredictions(flatten_level(heatmap, self.num_classes), flatten_level(preds, 4), priors)

    def decode_boxes(self, priors: Tensor, box_preds: Tensor, img_shape: tuple[int, int]) -> Tensor:
        """(N, 4) boxes, not clipped, from cells (N, 4) and sizes and offsets (N, 4)."""
        centers, half = priors[:, :2] + box_preds[:, 2:], box_preds[:, :2] / 2
        return torch.cat([centers - half, centers + half], dim=1) * priors[:, 2:].repeat(1, 2)

    def decode(self, outs: CenterNetOuts, metas: Sequence[ImageMeta]) -> tuple[Tensor, Tensor]:
        """Boxes (B, N, 4) and scores (B, N, C) of all cells."""
        level = self._level(outs, metas, outs.heatmap.detach().float())
        boxes = [self.decode_boxes(level.priors, preds, (0, 0)) for preds in level.box_preds]
        return torch.stack(boxes), level.scores

    def predict(
        self,
        outs: CenterNetOuts,
        metas: Sequence[ImageMeta],
        cfg: Cfg | PostProcessing | None = None,
        rescale: bool = True,
    ) -> list[Instances]:
        """Detections of each image, best first."""
        settings = CenterNetPostProcessing.from_cfg(cfg if cfg is not None else self.test_cfg)
        peaks = local_maxima(outs.heatmap.detach().float(), settings.local_maximum_kernel)
        level = self._level(outs, metas, peaks)
        return detect([level], self.decode_boxes, metas, replace(settings, nms_pre=settings.topk), rescale)


def cell_size(outs: CenterNetOuts, metas: Sequence[ImageMeta]) -> Tensor:
    """(2,) width and height of a cell in pixels of the network's input."""
    input_size = [max(meta.pad_shape[axis] for meta in metas) for axis in (1, 0)]
    height, width = outs.heatmap.shape[-2:]
    return outs.heatmap.new_tensor(input_size, dtype=torch.float32) / outs.heatmap.new_tensor([width, height])
