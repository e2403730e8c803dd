"""The contracts between rooms: what each may ask of a collaborator that a registry or a caller gives it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from mmkit.structures import (
        Assignment,
        Batch,
        ClassScores,
        ImageMeta,
        Instances,
        Masks,
        Prediction,
        PriorInfo,
        Sample,
        SamplingResult,
    )
    from mmkit.structures.assignment import HardLosses, PredictRegions, RegionPredictions

OutsT = TypeVar('OutsT')


@dataclass(frozen=True)
class Progress:
    """Progress of a training.

    Attributes:
        epoch: complete ones, of `max_epochs`.
        iter: complete iterations, of `max_iters`.
    """

    epoch: int
    max_epochs: int
    iter: int
    max_iters: int


@runtime_checkable
class TracksProgress(Protocol):
    """A model, or a part of one, whose training depends on how far it is, such as YOLOX with its image sizes."""

    def set_progress(self, progress: Progress) -> None:
        """Called before every training iteration."""


@runtime_checkable
class FreezesNorms(Protocol):
    """A backbone that can keep its batch norms in evaluation mode while training."""

    norm_eval: bool


@runtime_checkable
class HasExtraLosses(Protocol):
    """A model with losses for the last epochs only."""

    def use_extra_losses(self) -> None:
        """Add them from now on."""


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

    @property
    def test_cfg(self) -> NMSSettings | None:
        """Settings of `predict`; None if the head was built without them, or has no NMS."""
        ...

    def __call__(self, feats: Sequence[Tensor]) -> OutsT: ...

    def loss(self, outs: OutsT, batch: Batch) -> dict[str, Tensor]:
        """Losses by name; those with "loss" in the name are summed."""
        ...

    def decode(self, outs: OutsT, metas: Sequence[ImageMeta]) -> tuple[Tensor, Tensor]:
        """Boxes (B, N, 4) in pixels of the network's input and scores (B, N, C), all of them: no thresholds, no NMS."""
        ...

    def predict(
        self,
        outs: OutsT,
        metas: Sequence[ImageMeta],
        cfg: Mapping[str, Any] | NMSSettings | None = None,
        rescale: bool = True,
    ) -> list[Instances]:
        """Detections of each image, in pixels of the original image with `rescale`."""
        ...


class ProposalHead(DenseHead[OutsT], Protocol):
    """A dense head that proposes regions for a second stage."""

    def decode_proposals(self, outs: OutsT, metas: Sequence[ImageMeta]) -> Tensor:
        """Proposals (B, P, 4) in pixels of the network's input, where P doesn't depend on the image."""
        ...


class NMSSettings(Protocol):
    """The way from scored boxes to detections, as a `test_cfg` has it."""

    @property
    def score_thr(self) -> float:
        """Detections score above this."""
        ...

    @property
    def nms(self) -> Mapping[str, Any]:
        """Arguments of `mmkit.ops.batched_nms`."""
        ...

    @property
    def max_per_img(self) -> int:
        """Detections kept per image; negative: all."""
        ...


@dataclass
class RoITargets:
    """Training targets of R regions; background has the label `num_classes`."""

    labels: Tensor  # (R,) int64
    label_weights: Tensor  # (R,)
    bbox_targets: Tensor  # (R, 4), or as many as the coder makes
    bbox_weights: Tensor  # as bbox_targets


@runtime_checkable
class ScoringLoss(Protocol):
    """A classification loss with its own number of logits, activation and accuracy, as `SeesawLoss`."""

    def get_cls_channels(self, num_classes: int) -> int:
        """Logits that a head for `num_classes` must give."""
        ...

    def get_activation(self, cls_score: Tensor) -> Tensor:
        """Logits (N, ...) -> probabilities (N, C + 1), background last."""
        ...

    def get_accuracy(self, cls_score: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Figures to log, by name."""
        ...


class RoIExtractor(Protocol):
    """Region features from feature maps."""

    @property
    def num_inputs(self) -> int:
        """Levels that it reads, from the finest."""
        ...

    def __call__(self, feats: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Levels (B, C, H_l, W_l) and regions (R, 5) (index of the image, x1, y1, x2, y2) -> (R, C, h, w)."""
        ...


class BBoxHead(Protocol):
    """A head that classifies regions and refines their boxes."""

    num_classes: int

    def __call__(self, feats: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """(R, C, h, w) -> class scores (R, C + 1) and deltas (R, 4 or 4C); None for an output that it doesn't have."""
        ...

    def targets(self, samples: Sequence[SamplingResult], pos_weight: float = -1) -> RoITargets:
        """Targets of the sampled regions of all images, each image's positives before its negatives."""
        ...

    def loss(
        self, cls_score: Tensor | None, bbox_pred: Tensor | None, rois: Tensor, targets: RoITargets
    ) -> dict[str, Tensor]:
        """Losses by name; those with "loss" in the name are summed."""
        ...

    def hard_losses(self, feats: Tensor, labels: Tensor) -> Tensor:
        """Losses (R,) by which OHEM ranks the regions (R, C, h, w); a label of -1 is background."""
        ...

    def background_predictions(self, feats: Tensor, bboxes: Tensor) -> RegionPredictions:
        """Predictions for regions (R, C, h, w), with boxes (R, 4), that are background."""
        ...

    def probabilities(self, cls_score: Tensor | None) -> Tensor:
        """Class scores -> probabilities (R, C + 1), background last."""
        ...

    def decode(self, rois: Tensor, bbox_pred: Tensor | None, meta: ImageMeta) -> Tensor:
        """Regions (R, 5) of one image -> their boxes (R, 4 or 4C), in pixels of the network's input."""
        ...

    def predict(
        self,
        rois: Tensor,
        scores: Tensor,
        bbox_pred: Tensor | None,
        meta: ImageMeta,
        cfg: NMSSettings,
        rescale: bool = True,
    ) -> Instances:
        """Detections of one image, in pixels of the original image with `rescale`."""
        ...

    def box_quality(self, bbox_pred: Tensor | None) -> Tensor | None:
        """(R,) factors on the scores that pass the threshold, from the outputs of boxes; None leaves them."""
        ...

    def regress_by_class(self, bboxes: Tensor, labels: Tensor, bbox_pred: Tensor, meta: ImageMeta) -> Tensor:
        """Boxes (R, 4) moved by the deltas of their labels (R,)."""
        ...


class MaskHead(Protocol):
    """A head that segments the object of a region."""

    def __call__(self, feats: Tensor) -> Tensor:
        """(R, C, h, w) -> logits (R, num_classes or 1, h', w')."""
        ...

    def targets(
        self,
        samples: Sequence[SamplingResult],
        gts: Sequence[Instances],
        mask_size: int | Sequence[int],
        soft: bool = False,
    ) -> Tensor:
        """(P, h, w): the ground truth inside the positive boxes of all images."""
        ...

    def loss(self, logits: Tensor, targets: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Losses by name, of the P positive regions."""
        ...

    def decode(self, stages: Sequence[Tensor], labels: Tensor) -> Tensor:
        """Logits of one or several stages and classes (N,) -> probabilities (N, h, w)."""
        ...

    def predict(
        self,
        stages: Sequence[Tensor],
        detections: Instances,
        meta: ImageMeta,
        threshold: float = 0.5,
        rescale: bool = True,
    ) -> Masks:
        """Masks of the detections in one image, in pixels of the original image with `rescale`."""
        ...


class SemanticHead(Protocol):
    """A head that predicts a semantic segmentation."""

    def __call__(self, feats: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Levels -> logits (B, num_classes, h, w) and features (B, C, h, w)."""
        ...

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss of the logits against the map (B, 1, h, w)."""
        ...


class RoIHead(Protocol):
    """The second stage of a detector."""

    needs: tuple[str, ...]  # fields of the ground truth to learn from, besides boxes and labels

    @property
    def test_cfg(self) -> NMSSettings | None: ...

    def loss(self, feats: Sequence[Tensor], proposals: Sequence[Instances], batch: Batch) -> dict[str, Tensor]:
        """Losses by name; `proposals` are in pixels of the network's input."""
        ...

    def decode(
        self, feats: Sequence[Tensor], proposals: Tensor, metas: Sequence[ImageMeta]
    ) -> tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Tensor]:
        """Proposals (B, P, 4) -> boxes (B, P, 4), scores (B, P, C) and perhaps masks (B, P, h, w), before NMS."""
        ...

    def predict(
        self,
        feats: Sequence[Tensor],
        proposals: Sequence[Instances],
        metas: Sequence[ImageMeta],
        rescale: bool = True,
    ) -> list[Instances]:
        """Detections of each image, in pixels of the original image with `rescale`."""
        ...


class ClassificationHead(Protocol[OutsT]):
    """A head that classifies whole images; `OutsT` is the output of its `forward`."""

    num_classes: int

    def __call__(self, feats: tuple[Tensor, ...]) -> OutsT: ...

    def loss(self, outs: OutsT, batch: Batch) -> dict[str, Tensor]:
        """Losses by name; those with "loss" in the name are summed."""
        ...

    def predict(self, outs: OutsT, metas: Sequence[ImageMeta]) -> list[ClassScores]:
        """The scores of each image."""
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
        needs_hard_losses: `sample` needs `hard_losses` or `predict`.
    """

    @property
    def add_gt_as_proposals(self) -> bool: ...

    @property
    def takes_all(self) -> bool: ...

    @property
    def needs_hard_losses(self) -> bool: ...

    def sample(
        self,
        assignment: Assignment,
        bboxes: Tensor,
        gts: Instances,
        hard_losses: HardLosses | None = None,
        predict: PredictRegions | None = None,
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


class Initializer(Protocol):
    """Fills the parameters of a module with start values."""

    def __call__(self, module: nn.Module, everything: bool = False) -> None:
        """Fill the layers that it is for, or with `everything` all of them."""


class OptimizerBuilder(Protocol):
    """Makes the optimizer of a model: groups its parameters, with a learning rate and a weight decay of their own."""

    def __call__(self, model: nn.Module) -> Optimizer: ...


class VisBackend(Protocol):
    """A place where the figures of a training are kept, such as a file or an experiment tracker."""

    def open(self, directory: Path, config: str, model: nn.Module) -> None:
        """Before the first figures.

        Args:
            directory: for its files, unless it was given another one.
            config: of the training, as Python source.
        """

    def add_scalars(self, values: Mapping[str, float | str], step: int) -> None: ...

    def close(self) -> None:
        """At the end, whatever happened."""
