"""Base of assigners."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import TypeVar

from torch import Tensor

from mmkit.structures import Assignment, Instances, PriorInfo

T = TypeVar('T')
NO_INFO = PriorInfo()


class BaseAssigner(ABC):
    """Decides which prior is to predict which ground truth.

    Attributes:
        needs: fields of `PriorInfo` that `assign` reads. A head that cannot fill them in refuses the assigner.
    """

    needs: Collection[str] = frozenset()

    @abstractmethod
    def assign(
        self, bboxes: Tensor, gts: Instances, ignored: Tensor | None = None, info: PriorInfo = NO_INFO
    ) -> Assignment:
        """Assign the priors of one image.

        Args:
            bboxes: (N, 4) priors xyxy, in pixels.
            gts: the ground truth.
            ignored: (K, 4) regions in which nothing counts.
            info: has at least the fields that the assigner `needs`.
        """


def required(value: T | None, name: str) -> T:
    """The field `name` of a `PriorInfo`.

    Raises:
        ValueError: if it is missing.
    """
    if value is None:
        raise ValueError(f'the assigner needs {name} in the PriorInfo')
    return value
