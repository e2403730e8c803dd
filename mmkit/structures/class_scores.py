"""The prediction of a classifier."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mmkit.structures.instances import Instances


@dataclass
class ClassScores:
    """Class scores of ONE image as a whole.

    Attributes:
        scores: (C,) float32, probabilities that sum to 1.
    """

    scores: Tensor

    def __post_init__(self) -> None:
        if self.scores.ndim != 1:
            raise ValueError(f'scores must be (C,), got {tuple(self.scores.shape)}')

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def label(self) -> int:
        """The class with the highest score."""
        return int(self.scores.argmax())

    @property
    def score(self) -> float:
        """The highest score, 0..1."""
        return float(self.scores.max())

    def to(self, device: torch.device | str, non_blocking: bool = False) -> ClassScores:
        """Copy on a device."""
        return ClassScores(self.scores.to(device, non_blocking=non_blocking))


Prediction = Instances | ClassScores
