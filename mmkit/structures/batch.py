"""One image with its truth (`Sample`), and several of them as input of a model (`Batch`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmkit.structures.instances import Instances


@dataclass
class ImageMeta:
    """The history of an image on its way into a batch. Shapes are (height, width).

    Attributes:
        filename: full path; `ori_filename` is the name as the annotation file has it.
        img_id: the id of the annotation file.
        ori_shape: of the file.
        img_shape: after resizing, before padding.
        pad_shape: after padding by the pipeline.
        scale_factor: (4,) float32 (w, h, w, h), resized / original.
        flip: whether the image is mirrored, `flip_direction` how (horizontal, vertical, diagonal).
        img_norm_cfg: mean, std, to_rgb of the normalisation; None before it.
        norm_shape: the part at the upper left that the model has to normalise, where padding came before that: the rest
            is filled with a constant. None is all of `pad_shape`.
        homography_matrix: (3, 3) float32, from pixels (x, y, 1) of the original image to those of this one; None if the
            pipeline does not keep it.
        border: pixels (x, y) between the upper left corner and the image, where a test has put it in the middle of a
            larger canvas.
        index: of the image in the dataset that the loader reads; None if the dataset does not say it.
    """

    filename: str
    ori_filename: str
    img_id: int | str
    ori_shape: tuple[int, int]
    img_shape: tuple[int, int]
    pad_shape: tuple[int, int]
    scale_factor: np.ndarray
    flip: bool = False
    flip_direction: str | None = None
    img_norm_cfg: dict[str, Any] | None = None
    norm_shape: tuple[int, int] | None = None
    homography_matrix: np.ndarray | None = None
    border: tuple[int, int] = (0, 0)
    index: int | None = None


@dataclass
class Sample:
    """One image, ready to be collated.

    Attributes:
        img: (3, H, W) float32, or uint8 before normalisation.
        gt: the objects to detect; None at test time.
        ignored: (K, 4) regions in which nothing counts.
        proposals: boxes of another detector (Fast R-CNN).
        gt_semantic_seg: (1, h, w) int64.
        gt_label: () int64, the class of the whole image (classification).
        img_pad, seg_pad: values that pad a smaller image and its semantic map in a batch.
    """

    img: Tensor
    meta: ImageMeta
    gt: Instances | None = None
    ignored: Tensor | None = None
    proposals: Instances | None = None
    gt_semantic_seg: Tensor | None = None
    gt_label: Tensor | None = None
    img_pad: float = 0.0
    seg_pad: int = 255


@dataclass
class Batch:
    """B images of one size, padded at the right and at the bottom, and their truth; fields as in `Sample`."""

    imgs: Tensor  # (B, 3, H, W)
    metas: list[ImageMeta]
    gts: list[Instances] | None = None
    ignored: list[Tensor] | None = None
    proposals: list[Instances] | None = None
    gt_semantic_seg: Tensor | None = None  # (B, 1, h, w) int64
    gt_labels: Tensor | None = None  # (B,) int64; of mixed images (B, C) float32

    def __len__(self) -> int:
        return len(self.metas)

    @property
    def filenames(self) -> list[str]:
        """Of all images, for messages."""
        return [meta.filename for meta in self.metas]

    @property
    def ignored_regions(self) -> list[Tensor | None]:
        """`ignored` of each image, None where it is not known."""
        return [None] * len(self) if self.ignored is None else [*self.ignored]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        return self._map_tensors(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """Called by DataLoader when it pins."""
        return self._map_tensors(Tensor.pin_memory)

    def _map_tensors(self, change: Callable[[Tensor], Tensor]) -> Batch:
        def changed(value: object) -> Any:
            if isinstance(value, list):
                return [changed(item) for item in value]
            if isinstance(value, Instances):
                return value.map_tensors(change)
            if isinstance(value, Batch):
                return value._map_tensors(change)
            return change(value) if isinstance(value, Tensor) else value

        return replace(self, **{field.name: changed(getattr(self, field.name)) for field in fields(self)})
