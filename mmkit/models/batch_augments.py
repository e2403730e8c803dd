"""Changes of whole batches on the device, in training: padding to one size, and resizing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.errors import InvalidValueError
from mmkit.protocols import Progress
from mmkit.registry import BATCH_AUGMENTS
from mmkit.structures import Batch, BitmapMasks, Instances, PolygonMasks
from mmkit.utils.dist import broadcast_object

Size = tuple[int, int]  # (height, width)
_DRAWN = (BitmapMasks, PolygonMasks)  # the masks of ground truth


def padded(imgs: Tensor, size: Size, value: float) -> Tensor:
    """(..., H, W) at the upper left of `size` (height, width); a side that is longer stays."""
    down, right = max(size[0] - imgs.shape[-2], 0), max(size[1] - imgs.shape[-1], 0)
    return F.pad(imgs, (0, right, 0, down), value=value) if down or right else imgs


def with_padded_masks(batch: Batch, value: int) -> Batch:
    """The batch with masks on canvases of the size of its images."""
    size = batch.imgs.shape[-2:]

    def pad_masks(gts: Instances) -> Instances:
        return replace(gts, masks=gts.masks.pad(size, value)) if isinstance(gts.masks, _DRAWN) else gts

    return replace(batch, gts=None if batch.gts is None else [pad_masks(gts) for gts in batch.gts])


def resized(batch: Batch, new: Size) -> Batch:
    """The batch with images of `new` (height, width), and its boxes, masks, maps and metas to match."""
    height, width = batch.imgs.shape[-2:]
    if new == (height, width):
        return batch
    y, x = new[0] / height, new[1] / width
    factor = batch.imgs.new_tensor([x, y] * 2)

    def scale(objects: Instances) -> Instances:
        masks = objects.masks
        if isinstance(masks, _DRAWN):
            masks = masks.resize((round(masks.height * y), round(masks.width * x)))
        return replace(objects, bboxes=objects.bboxes * factor, masks=masks)

    def shrink(size: Size) -> Size:
        return int(size[0] * y), int(size[1] * x)

    seg = batch.gt_semantic_seg
    return replace(
        batch,
        imgs=F.interpolate(batch.imgs, size=new, mode='bilinear', align_corners=False),
        metas=[replace(m, img_shape=shrink(m.img_shape), pad_shape=shrink(m.pad_shape)) for m in batch.metas],
        gts=None if batch.gts is None else [scale(each) for each in batch.gts],
        ignored=None if batch.ignored is None else [bboxes * factor for bboxes in batch.ignored],
        proposals=None if batch.proposals is None else [scale(each) for each in batch.proposals],
        gt_semantic_seg=None if seg is None else _resized_map(seg, y, x),
    )


def _resized_map(seg: Tensor, y: float, x: float) -> Tensor:
    size = round(seg.shape[-2] * y), round(seg.shape[-1] * x)
    return F.interpolate(seg.float(), size=size, mode='nearest').long()


class RandomSizes:
    """Sizes that are drawn anew every `interval` iterations; a function of the seed of the run and the iteration.

    Args:
        size_range: (low, high), both included, of the height in multiples of `divisor`.
        interval: iterations of one size; those of the first interval have none.
    """

    def __init__(self, size_range: Sequence[int], interval: int, divisor: int) -> None:
        self.size_range = (size_range[0], size_range[1])
        self.interval = interval
        self.divisor = divisor
        self._seed: int | None = None

    def at(self, iteration: int, aspect_ratio: float) -> Size | None:
        """(height, width) in an iteration, with width = aspect_ratio * height; None in the first interval."""
        draw = iteration // self.interval
        if draw == 0:
            return None
        if self._seed is None:
            self._seed = broadcast_object(torch.initial_seed())
        low, high = self.size_range
        units = int(np.random.default_rng([self._seed, draw]).integers(low, high, endpoint=True))
        return self.divisor * units, self.divisor * int(aspect_ratio * units)


@BATCH_AUGMENTS.register_module()
class BatchFixedSizePad(nn.Module):
    """Pads every batch to one size, for models whose layers depend on it. arXiv:2012.07177

    Args:
        size: (height, width); a larger batch stays.
        img_pad_value: of the new pixels, behind the normalisation.
        pad_mask, mask_pad_value: pad masks, too.
        pad_seg, seg_pad_value: pad semantic maps, too.
    """

    def __init__(
        self,
        size: Sequence[int],
        img_pad_value: float = 0,
        pad_mask: bool = False,
        mask_pad_value: int = 0,
        pad_seg: bool = False,
        seg_pad_value: int = 255,
    ) -> None:
        super().__init__()
        self.size = (int(size[0]), int(size[1]))
        self.img_pad_value = img_pad_value
        self.mask_pad_value = mask_pad_value if pad_mask else None
        self.seg_pad_value = seg_pad_value if pad_seg else None

    def forward(self, batch: Batch) -> Batch:
        imgs = padded(batch.imgs, self.size, self.img_pad_value)
        metas = [replace(meta, pad_shape=self.size) for meta in batch.metas]
        batch = replace(batch, imgs=imgs, metas=metas)
        if self.mask_pad_value is not None:
            batch = with_padded_masks(batch, self.mask_pad_value)
        if self.seg_pad_value is not None and batch.gt_semantic_seg is not None:
            batch = replace(batch, gt_semantic_seg=padded(batch.gt_semantic_seg, self.size, self.seg_pad_value))
        return batch


@BATCH_AUGMENTS.register_module()
class BatchSyncRandomResize(nn.Module):
    """Resizes batches to a size that is drawn every few iterations, the same in all processes. arXiv:2107.08430

    The size is a function of the seed and the iteration, so that a resumed training goes on with the same ones.

    Args:
        random_size_range: (low, high) in pixels; the height is drawn from the multiples of `size_divisor` between them,
            and the width keeps the ratio of the batch.
        interval: iterations of one size; those of the first interval leave batches as they are.
        size_divisor: edges are multiples of it.
    """

    def __init__(self, random_size_range: Sequence[int], interval: int = 10, size_divisor: int = 32) -> None:
        super().__init__()
        low, high = (round(edge / size_divisor) for edge in random_size_range)
        if interval < 1 or not 1 <= low <= high:
            message = f'random_size_range={random_size_range}, interval={interval}, size_divisor={size_divisor}'
            raise InvalidValueError(f'BatchSyncRandomResize: no sizes in {message}', key='random_size_range')
        self.sizes = RandomSizes((low, high), interval, size_divisor)
        self.iteration = 0

    def set_progress(self, progress: Progress) -> None:
        self.iteration = progress.iter

    def forward(self, batch: Batch) -> Batch:
        height, width = batch.imgs.shape[-2:]
        size = self.sizes.at(self.iteration, width / height)
        return batch if size is None else resized(batch, size)


@BATCH_AUGMENTS.register_module()
class BatchResize(nn.Module):
    """Resizes each batch as a whole to fit into a scale, and pads it.

    Args:
        scale: two lengths that bound the longer and the shorter edge, in any order.
        pad_size_divisor: height and width become multiples of it.
        pad_value: of the new pixels.
    """

    def __init__(self, scale: Sequence[int], pad_size_divisor: int = 1, pad_value: float = 0) -> None:
        super().__init__()
        self.short, self.long = min(scale), max(scale)
        self.pad_size_divisor = pad_size_divisor
        self.pad_value = pad_value

    def forward(self, batch: Batch) -> Batch:
        height, width = batch.imgs.shape[-2:]
        factor = min(self.short / min(height, width), self.long / max(height, width))
        batch = resized(batch, (round(height * factor), round(width * factor)))
        size = rounded_up(batch.imgs.shape[-2:], self.pad_size_divisor)
        metas = [
            replace(meta, pad_shape=size, scale_factor=(meta.scale_factor * factor).astype(np.float32))
            for meta in batch.metas
        ]
        return replace(batch, imgs=padded(batch.imgs, size, self.pad_value), metas=metas)


def rounded_up(size: Sequence[int], divisor: int) -> Size:
    """(height, width), the next multiples of `divisor`."""
    return -(-size[0] // divisor) * divisor, -(-size[1] // divisor) * divisor
