"""The contracts between rooms: what each may ask of a collaborator that a registry or a caller gives it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from mmkit.structures import Batch, ImageMeta, Instances, Prediction, Sample


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    Attributes:
        epoch: complete ones, of `max_epochs`.
        iter: complete iterations, of `max_iters`.
    """

    epoch: int
    max_epochs: int
    iter: int
    max_iters: int


class Transform(Protocol):
    """A step of a pipeline: takes the sample as a dict and returns it changed.

    The last one returns a `Sample`, or a list of them (one a view); None drops the image.
    """

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any] | Sample | list[Sample] | None: ...


class Metric(Protocol):
    """Figures of the predictions for a whole dataset."""

    def reset(self) -> None:
        """Forget everything processed so far."""

    def process(self, metas: Sequence[ImageMeta], predictions: Sequence[Prediction]) -> None:
        """Take in the predictions for some images."""

    def evaluate(self) -> dict[str, float | str]:
        """The figures by name, on the main process, over what all processes have processed."""
        ...


class DenseHead(Protocol):
    """A head that predicts at every position of the feature maps. `outs` is of a type of its own per head."""

    def __call__(self, feats: Sequence[Tensor]) -> Any: ...

    def loss(self, outs: Any, batch: Batch) -> dict[str, Tensor]:
        """Losses by name; those with "loss" in the name are summed."""
        ...

    def predict(
        self, outs: Any, metas: Sequence[ImageMeta], cfg: Mapping[str, Any] | None = None, rescale: bool = True
    ) -> list[Instances]:
        """Detections of each image, in pixels of the original image with `rescale`."""
        ...
