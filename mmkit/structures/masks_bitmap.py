"""Masks as arrays of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision.ops import roi_align
from typing_extensions import Self

from mmkit.structures.masks_base import Index, Masks, as_rows, check_direction, rescaled_size

INTERPOLATIONS = {'nearest': cv2.INTER_NEAREST, 'bilinear': cv2.INTER_LINEAR}


class BitmapMasks(Masks):
    """Masks as pixels.

    Args:
        masks: (N, height, width) array of 0 and 1, or a sequence of N such arrays.
        height, width: size of the canvas.

    Raises:
        ValueError: if a mask is not of that size.
    """

    def __init__(self, masks: np.ndarray | Sequence[np.ndarray], height: int, width: int) -> None:
        self.height, self.width = int(height), int(width)
        stack: Any = np.stack(list(masks)) if len(masks) else np.zeros((0, self.height, self.width))
        if stack.shape[1:] != (self.height, self.width):
            raise ValueError(f'masks of shape {stack.shape} on a canvas of (height, width) {self.height, self.width}')
        self.masks: np.ndarray = np.ascontiguousarray(stack, dtype=np.uint8)

    def __len__(self) -> int:
        return len(self.masks)

    def __getitem__(self, index: Index) -> Self:
        return self._like(self.masks[as_rows(index, len(self))])

    @property
    def areas(self) -> np.ndarray:
        areas: np.ndarray = self.masks.sum(axis=(1, 2), dtype=np.int64)
        return areas

    def to_ndarray(self) -> np.ndarray:
        return self.masks

    def to_bitmap(self) -> BitmapMasks:
        return self

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        height, width = cls._common_canvas(parts)
        return cls(np.concatenate([part.masks for part in parts]), height, width)

    def resize(self, out_shape: Sequence[int], interpolation: str = 'nearest') -> Self:
        """To the canvas `out_shape` (height, width)."""
        height, width = int(out_shape[0]), int(out_shape[1])
        flag = INTERPOLATIONS[interpolation]
        return self._like([cv2.resize(mask, (width, height), interpolation=flag) for mask in self.masks], height, width)

    def rescale(self, scale: float | Sequence[float], interpolation: str = 'nearest') -> Self:
        """As `rescaled_size` says."""
        return self.resize(rescaled_size(self.height, self.width, scale), interpolation)

    def flip(self, direction: str = 'horizontal') -> Self:
        check_direction(direction)
        masks = self.masks
        if direction != 'vertical':
            masks = masks[:, :, ::-1]
        if direction != 'horizontal':
            masks = masks[:, ::-1]
        return self._like(masks)

    def pad(self, out_shape: Sequence[int], pad_val: int = 0) -> Self:
        """A larger canvas (height, width), grown to the right and downwards."""
        return self._on_canvas(int(out_shape[0]), int(out_shape[1]), 0, 0, pad_val)

    def expand(self, expanded_h: int, expanded_w: int, top: int, left: int) -> Self:
        """A larger canvas in which the present one begins at (top, left)."""
        return self._on_canvas(expanded_h, expanded_w, top, left, 0)

    def crop(self, bbox: np.ndarray | Sequence[float]) -> Self:
        """What is inside one box (x1, y1, x2, y2) of whole pixels, clipped to the canvas."""
        x1, x2 = np.clip([bbox[0], bbox[2]], 0, self.width).astype(int)
        y1, y2 = np.clip([bbox[1], bbox[3]], 0, self.height).astype(int)
        height, width = max(int(y2 - y1), 1), max(int(x2 - x1), 1)
        return self._like(self.masks[:, y1 : y1 + height, x1 : x1 + width], height, width)

    def affine(self, matrix: np.ndarray) -> Self:
        """On the same canvas after points (x, y) went where `matrix` (2, 3) says."""
        size = (self.width, self.height)
        return self._like([cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_LINEAR) for mask in self.masks])

    def crop_and_resize(
        self,
        bboxes: np.ndarray | Tensor,
        out_shape: Sequence[int],
        inds: np.ndarray | Tensor,
        device: torch.device | str = 'cpu',
        binarize: bool = True,
    ) -> Tensor:
        """What mask `inds[k]` looks like inside box k: the target of a mask head. arXiv:1703.06870

        Args:
            bboxes: (K, 4) xyxy in pixels of the canvas.
            out_shape: (height, width) of the results.
            inds: (K,) numbers of masks.
            device: where the computation happens.
            binarize: 0 and 1 instead of the covered share.

        Returns:
            (K, height, width) float32.
        """
        boxes = torch.as_tensor(bboxes, dtype=torch.float32, device=device)[:, :4]
        rows = torch.as_tensor(inds, device=device).to(boxes).reshape(-1, 1)
        if not len(boxes):
            return boxes.new_zeros(0, int(out_shape[0]), int(out_shape[1]))
        masks = torch.from_numpy(self.masks).to(device=device, dtype=torch.float32)[:, None]  # (N, 1, H, W)
        size = (int(out_shape[0]), int(out_shape[1]))
        targets = roi_align(masks, torch.cat([rows, boxes], dim=1), size, 1.0, 0, aligned=True)[:, 0]
        cropped: Tensor = (targets >= 0.5).float() if binarize else targets
        return cropped

    def get_bboxes(self) -> np.ndarray:
        """(N, 4) float32, the tightest boxes; zeros for an empty mask."""
        bboxes = np.zeros((len(self), 4), dtype=np.float32)
        for row, mask in zip(bboxes, self.masks):
            xs, ys = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
            if len(xs):
                row[:] = xs[0], ys[0], xs[-1] + 1, ys[-1] + 1
        return bboxes

    def _on_canvas(self, height: int, width: int, top: int, left: int, value: int) -> Self:
        if top + self.height > height or left + self.width > width:
            raise ValueError(f'{self} at (top, left) {top, left} does not fit into {height, width}')
        canvas = np.full((len(self), height, width), value, dtype=np.uint8)
        canvas[:, top : top + self.height, left : left + self.width] = self.masks
        return self._like(canvas, height, width)

    def _like(self, masks: Any, height: int | None = None, width: int | None = None) -> Self:
        return type(self)(masks, self.height if height is None else height, self.width if width is None else width)
