"""The contracts between rooms: what each may ask of a collaborator that a registry or a caller gives it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from mmkit.structures import (
        Assignment,
        Batch,
        ImageMeta,
        Instances,
        Prediction,
        PriorInfo,
        Sample,
        SamplingResult,
    )
    from mmkit.structures.assignment import HardLosses

OutsT = TypeVar('OutsT')


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


class DenseHead(Protocol[OutsT]):
    """A head that predicts at every position of the feature maps, or for every query.

    `OutsT` is the output of its `forward`: tensors, in a tuple or a list of a type of its own.
    """

    def __call__(self, feats: Sequence[Tensor]) -> OutsT: ...

    def loss(self, outs: OutsT, batch: Batch) -> dict[str, Tensor]:
        """Losses by name; those with "loss" in the name are summed."""
        ...

    def decode(self, outs: OutsT, metas: Sequence[ImageMeta]) -> tuple[Tensor, Tensor]:
        """Boxes (B, N, 4) in pixels of the network's input and scores (B, N, C), all of them: no thresholds, no NMS."""
        ...

    def predict(
        self, outs: OutsT, metas: Sequence[ImageMeta], cfg: Mapping[str, Any] | None = None, rescale: bool = True
    ) -> list[Instances]:
        """Detections of each image, in pixels of the original image with `rescale`."""
        ...


@runtime_checkable
class Assigner(Protocol):
    """Decides which prior is to predict which ground truth.

    Attributes:
        needs: fields of `PriorInfo` that `assign` reads.
    """

    @property
    def needs(self) -> Collection[str]: ...

    def assign(
        self, bboxes: Tensor, gts: Instances, ignored: Tensor | None = None, info: PriorInfo = ...
    ) -> Assignment:
        """Assign the priors (N, 4) of one image to `gts`; `ignored`: (K, 4) regions in which nothing counts."""
        ...


@runtime_checkable
class Matcher(Assigner, Protocol):
    """An assigner that pairs predictions one to one with objects, for a whole batch at once."""

    def match_batch(
        self, cls_scores: Tensor, bbox_preds: Tensor, gts: Sequence[Instances], img_shapes: Sequence[Sequence[int]]
    ) -> Tensor:
        """(L, B, Q) index of the object in its image, -1: background; as many objects in each of the L layers.

        Args:
            cls_scores: (L, B, Q, C) logits.
            bbox_preds: (L, B, Q, 4) normalised cx, cy, w, h.
        """
        ...


class BoxSampler(Protocol):
    """Chooses the assigned priors that the loss sees.

    Attributes:
        add_gt_as_proposals: the ground truths are put before the priors.
        takes_all: every prior that is not ignored is kept.
        needs_hard_losses: `sample` needs `hard_losses`.
    """

    @property
    def add_gt_as_proposals(self) -> bool: ...

    @property
    def takes_all(self) -> bool: ...

    @property
    def needs_hard_losses(self) -> bool: ...

    def sample(
        self, assignment: Assignment, bboxes: Tensor, gts: Instances, hard_losses: HardLosses | None = None
    ) -> SamplingResult:
        """Choose among the priors (N, 4) of one image, as assigned to `gts`."""
        ...


class BoxCoder(Protocol):
    """Turns boxes into regression targets relative to priors, and predictions back into boxes."""

    def encode(self, priors: Tensor, gt_bboxes: Tensor, /) -> Tensor:
        """(N, 4) targets that lead from priors (N, 2 or 4) to boxes (N, 4)."""
        ...

    def decode(self, priors: Tensor, preds: Tensor, /, max_shape: Sequence[int] | None = None) -> Tensor:
        """(..., 4) boxes, clipped to `max_shape` (height, width) where the coder does so."""
        ...


class PriorGenerator(Protocol):
    """Lays out priors on the cells of the pyramid's levels.

    Attributes:
        strides: (w, h) in pixels of each level.
        num_base_priors: priors of one cell, of each level.
    """

    strides: list[tuple[int, int]]

    @property
    def num_base_priors(self) -> list[int]: ...

    def grid_priors(
        self, featmap_sizes: Sequence[Sequence[int]], dtype: torch.dtype = ..., device: torch.device | str = ...
    ) -> list[Tensor]:
        """(h * w * A, 2 or 4) priors of feature maps of sizes (h, w)."""
        ...

    def valid_flags(
        self, featmap_sizes: Sequence[Sequence[int]], pad_shape: Sequence[int], device: torch.device | str = ...
    ) -> list[Tensor]:
        """(h * w * A,) bool of each level: priors on an image padded to `pad_shape` (height, width)."""
        ...


class IoUCalculator(Protocol):
    """Overlaps of boxes."""

    def __call__(
        self, bboxes1: Tensor, bboxes2: Tensor, mode: Literal['iou', 'iof', 'giou'] = 'iou', is_aligned: bool = False
    ) -> Tensor:
        """(M, N) overlaps of boxes (M, 4) and (N, 4), or (M,) row by row if `is_aligned`."""
        ...


class MatchCost(Protocol):
    """Cost of pairing predictions with objects."""

    def __call__(self, preds: Tensor, gts: Tensor, /) -> Tensor:
        """(Q, K) from Q predictions and K ground truths."""
        ...
