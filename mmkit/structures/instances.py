"""The objects of one image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from mmkit.structures.masks import Masks


@dataclass
class Instances:
    """Objects of ONE image: ground truth, proposals or detections.

    Every field is either None or has `len(bboxes)` rows. A task with more data per object uses a subclass with more
    fields; indexing, `to` and `cat` apply to all of them.

    Attributes:
        bboxes: (N, 4) float32 xyxy, absolute pixels.
        labels: (N,) int64 in 0..C-1.
        scores: (N,) float32.
        masks: `BitmapMasks`, `PolygonMasks` or `EncodedMasks` of N objects.
    """

    bboxes: Tensor
    labels: Tensor | None = None
    scores: Tensor | None = None
    masks: Masks | None = None

    def __post_init__(self) -> None:
        if self.bboxes.ndim != 2 or self.bboxes.shape[1] != 4:
            raise ValueError(f'bboxes must be (N, 4), got {tuple(self.bboxes.shape)}')
        for name, value in self.present().items():
            if len(value) != len(self):
                raise ValueError(f'{name} has {len(value)} rows, but there are {len(self)} bboxes')

    def present(self) -> dict[str, Tensor | Masks]:
        """The fields that are not None, by name."""
        pairs = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in pairs if value is not None}

    def __len__(self) -> int:
        return len(self.bboxes)

    def __getitem__(self, index: int | slice | Tensor | Sequence[int]) -> Self:
        """The objects at an int, a slice, indices or a bool mask, with all their fields."""
        if isinstance(index, int):
            if not -len(self) <= index < len(self):
                raise IndexError(f'object {index} of {len(self)}')
            index = slice(index, index + 1 if index != -1 else None)
        chosen: dict[str, Any] = {name: value[index] for name, value in self.present().items()}
        return replace(self, **chosen)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Instances:
        """Copy of the tensors on a device; masks stay where they are."""
        return self.map_tensors(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def map_tensors(self, change: Callable[[Tensor], Tensor]) -> Instances:
        """Copy with every tensor changed; masks stay as they are."""
        tensors = {name: value for name, value in self.present().items() if isinstance(value, Tensor)}
        changed: dict[str, Any] = {name: change(tensor) for name, tensor in tensors.items()}
        return replace(self, **changed)

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        """Concatenate; a field that a part lacks is left out.

        Raises:
            ValueError: `parts` is empty.
        """
        if not parts:
            raise ValueError('nothing to concatenate')
        joined: dict[str, Any] = {}
        for name in parts[0].present():
            values = [getattr(part, name) for part in parts]
            if any(value is None for value in values):
                continue
            joined[name] = torch.cat(values) if isinstance(values[0], Tensor) else type(values[0]).cat(values)
        return type(parts[0])(**joined)

    @classmethod
    def empty(cls, device: torch.device | str = 'cpu') -> Instances:
        """No detections: zero boxes, labels and scores."""
        return cls(
            bboxes=torch.zeros(0, 4, device=device),
            labels=torch.zeros(0, dtype=torch.long, device=device),
            scores=torch.zeros(0, device=device),
        )
