"""Masks of the objects of one image: the base class, and masks as bitmaps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision.ops import roi_align
from typing_extensions import Self

from mmkit.errors import InvalidValueError

Index = int | slice | Sequence[int] | np.ndarray | Tensor
INTERPOLATIONS = {'nearest': cv2.INTER_NEAREST, 'bilinear': cv2.INTER_LINEAR}
DIRECTIONS = ('horizontal', 'vertical', 'diagonal')


def rescaled_size(height: int, width: int, scale: float | Sequence[float]) -> tuple[int, int]:
    """The (height, width) of an image scaled at a fixed aspect ratio.

    Args:
        height, width: of the image in pixels.
        scale: a factor, or two lengths in pixels that bound the longer and the shorter edge, in any order.

    Raises:
        InvalidValueError: the scale is not positive.
    """
    if isinstance(scale, (int, float)):
        factor = float(scale)
    else:
        factor = min(max(scale) / max(height, width), min(scale) / min(height, width))
    if factor <= 0:
        raise InvalidValueError(f'cannot scale an image by {scale}', key='scale')
    return int(height * factor + 0.5), int(width * factor + 0.5)


def check_direction(direction: str) -> None:
    """Raise an InvalidValueError for an unknown direction of flipping."""
    if direction not in DIRECTIONS:
        message = f'unknown flip direction {direction!r}; there are: {", ".join(DIRECTIONS)}'
        raise InvalidValueError(message, key='direction')


def as_rows(index: Index, num_rows: int) -> np.ndarray:
    """Row numbers (K,) of any index."""
    if isinstance(index, Tensor):
        index = index.detach().cpu().numpy()
    if isinstance(index, (int, np.integer)) and not -num_rows <= index < num_rows:
        raise IndexError(f'mask {index} of {num_rows}')
    if isinstance(index, Sequence) and not len(index):
        return np.zeros(0, dtype=np.int64)
    return np.atleast_1d(np.arange(num_rows)[index])


class Masks(ABC):
    """Masks of N objects on a canvas of `height` x `width` pixels. Every operation returns new masks."""

    height: int
    width: int

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: Index) -> Self:
        """The chosen masks, still a collection if `index` is an int."""

    @property
    @abstractmethod
    def areas(self) -> np.ndarray:
        """(N,) pixels of each mask."""

    @abstractmethod
    def to_ndarray(self) -> np.ndarray:
        """(N, height, width) uint8, 0 and 1."""

    @abstractmethod
    def to_bitmap(self) -> BitmapMasks:
        """The same masks as pixels."""

    @classmethod
    @abstractmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        """Concatenate masks of one canvas size."""

    def crop_and_resize(
        self,
        bboxes: np.ndarray | Tensor,
        out_shape: Sequence[int],
        inds: np.ndarray | Tensor,
        device: torch.device | str = 'cpu',
        binarize: bool = True,
    ) -> Tensor:
        """Targets of a mask head: mask `inds[k]` cropped to box k and resized (arXiv:1703.06870).

        Args:
            bboxes: (K, 4) xyxy in pixels of the canvas.
            out_shape: (height, width) of the results.
            inds: (K,) mask indices.
            device: device of the result.
            binarize: 0 and 1 instead of the covered fraction of a pixel.

        Returns:
            (K, height, width) float32.
        """
        return self.to_bitmap().crop_and_resize(bboxes, out_shape, inds, device=device, binarize=binarize)

    def to_tensor(self, dtype: torch.dtype = torch.uint8, device: torch.device | str = 'cpu') -> Tensor:
        """(N, height, width) of 0 and 1."""
        return torch.as_tensor(self.to_ndarray(), dtype=dtype, device=device)

    def __iter__(self) -> Iterator[Self]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f'{type(self).__name__}(num_masks={len(self)}, height={self.height}, width={self.width})'

    @staticmethod
    def _common_canvas(parts: Sequence[Masks]) -> tuple[int, int]:
        if not parts:
            raise ValueError('nothing to concatenate')
        sizes = {(part.height, part.width) for part in parts}
        if len(sizes) > 1:
            raise ValueError(f'masks of different canvases (height, width): {sorted(sizes)}')
        return sizes.pop()


class BitmapMasks(Masks):
    """Masks as bitmaps.

    Args:
        masks: (N, height, width) array of 0 and 1, which is not copied, or a sequence of N such arrays.
        height, width: size of the canvas in pixels.

    Raises:
        ValueError: a mask has another size.
    """

    def __init__(self, masks: np.ndarray | Sequence[np.ndarray], height: int, width: int) -> None:
        self.height, self.width = int(height), int(width)
        stack = masks if isinstance(masks, np.ndarray) else np.stack(list(masks)) if len(masks) else np.zeros(0)
        stack = stack if len(stack) else np.zeros((0, self.height, self.width))
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
        """Resize to the canvas `out_shape`, (height, width)."""
        height, width = int(out_shape[0]), int(out_shape[1])
        flag = INTERPOLATIONS[interpolation]
        return self._like([cv2.resize(mask, (width, height), interpolation=flag) for mask in self.masks], height, width)

    def rescale(self, scale: float | Sequence[float], interpolation: str = 'nearest') -> Self:
        """Resize to `rescaled_size`."""
        return self.resize(rescaled_size(self.height, self.width, scale), interpolation)

    def flip(self, direction: str = 'horizontal') -> Self:
        """Mirror 'horizontal', 'vertical' or, both, 'diagonal'."""
        check_direction(direction)
        masks = self.masks
        if direction != 'vertical':
            masks = masks[:, :, ::-1]
        if direction != 'horizontal':
            masks = masks[:, ::-1]
        return self._like(masks)

    def pad(self, out_shape: Sequence[int], pad_val: int = 0) -> Self:
        """Pad to a larger canvas (height, width) at the right and at the bottom."""
        return self._on_canvas(int(out_shape[0]), int(out_shape[1]), value=pad_val)

    def expand(self, expanded_h: int, expanded_w: int, top: int, left: int) -> Self:
        """Place the canvas at (top, left) of a larger one."""
        return self._on_canvas(expanded_h, expanded_w, top=top, left=left)

    def crop(self, bbox: np.ndarray | Sequence[float]) -> Self:
        """Crop to one box (x1, y1, x2, y2) of whole pixels, clipped to the canvas."""
        x1, x2 = np.clip([bbox[0], bbox[2]], 0, self.width).astype(int)
        y1, y2 = np.clip([bbox[1], bbox[3]], 0, self.height).astype(int)
        height, width = max(int(y2 - y1), 1), max(int(x2 - x1), 1)
        return self._like(self.masks[:, y1 : y1 + height, x1 : x1 + width], height, width)

    def affine(self, matrix: np.ndarray) -> Self:
        """Apply the affine transform `matrix` (2, 3) of points (x, y), on the same canvas."""
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
        boxes = torch.as_tensor(bboxes, dtype=torch.float32, device=device)[:, :4]
        rows = torch.as_tensor(inds, device=device).to(boxes).reshape(-1, 1)
        if not len(boxes):
            return boxes.new_zeros(0, int(out_shape[0]), int(out_shape[1]))
        masks = torch.from_numpy(self.masks).to(device=device, dtype=torch.float32)[:, None]  # (N, 1, H, W)
        size = (int(out_shape[0]), int(out_shape[1]))
        targets = roi_align(masks, torch.cat([rows, boxes], dim=1), size, aligned=True, sampling_ratio=0)[:, 0]
        cropped: Tensor = (targets >= 0.5).float() if binarize else targets
        return cropped

    def get_bboxes(self) -> np.ndarray:
        """Tightest boxes, (N, 4) float32 xyxy; zeros for an empty mask."""
        bboxes = np.zeros((len(self), 4), dtype=np.float32)
        for row, mask in zip(bboxes, self.masks):
            xs, ys = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
            if len(xs):
                row[:] = xs[0], ys[0], xs[-1] + 1, ys[-1] + 1
        return bboxes

    def _on_canvas(self, height: int, width: int, top: int = 0, left: int = 0, value: int = 0) -> Self:
        if top + self.height > height or left + self.width > width:
            raise ValueError(f'{self} at (top, left) {top, left} does not fit into {height, width}')
        canvas = np.full((len(self), height, width), value, dtype=np.uint8)
        canvas[:, top : top + self.height, left : left + self.width] = self.masks
        return self._like(canvas, height, width)

    def _like(
        self, masks: np.ndarray | Sequence[np.ndarray], height: int | None = None, width: int | None = None
    ) -> Self:
        return type(self)(masks, self.height if height is None else height, self.width if width is None else width)
